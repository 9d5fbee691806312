# answers without an id
# KIND stdio
# ARGS --timeout 4s
# CAUSE id-type
# EXIT 1
# WANT without an id
# NOT write logs to stderr
from base import *
class S(Server):
    def send(self, o): o.pop('id', None); super().send(o)
S().run()
