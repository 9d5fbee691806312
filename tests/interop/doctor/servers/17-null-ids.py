# answers with id null
# KIND stdio
# ARGS --timeout 4s
# CAUSE id-type
# EXIT 1
# WANT id null
from base import *
class S(Server):
    def send(self, o): o['id'] = None; super().send(o)
S().run()
