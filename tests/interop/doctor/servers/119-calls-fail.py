# every call is answered with an error
# KIND stdio
# CAUSE call-refused
# EXIT 1
# WANT database is down
from base import *
class S(Server):
    def on_tools_call(self, m): return ('error', -32603, 'database is down')
S().run()
