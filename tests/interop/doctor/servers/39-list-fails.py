# declares tools, tools/list fails
# KIND stdio
# CAUSE list-refused
# EXIT 1
# WANT declares tools
from base import *
class S(Server):
    def on_tools_list(self, m): return ('error', -32603, 'DATABASE_URL is not set')
S().run()
