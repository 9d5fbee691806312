# nextCursor "" on the last page: clients either ask for ever or stop
# KIND stdio
# CAUSE cursor-repeats
# EXIT 1
# WANT nextCursor
# WANT empty
from base import *
class S(Server):
    def on_tools_list(self, m): return {'tools': [TOOL], 'nextCursor': ''}
S().run()
