# ends in tools/list with code 1 and a traceback
# KIND stdio
# CAUSE died-in-call
# EXIT 1
# WANT ZeroDivisionError
# WANT tools/list
from base import *
class S(Server):
    def on_tools_list(self, m): 1 / 0
S().run()
