# answers id 1 with "1"
# KIND stdio
# ARGS --timeout 4s
# CAUSE id-type
# EXIT 1
# WANT "1"
# WANT string
from base import *
class S(Server):
    def send(self, o): o['id'] = str(o['id']); super().send(o)
S().run()
