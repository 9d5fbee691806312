# nextCursor is the cursor that was asked for
# KIND stdio
# CAUSE cursor-repeats
# EXIT 1
# WANT nextCursor
# WANT again
from base import *
class S(Server):
    def on_tools_list(self, m): return {'tools': [TOOL], 'nextCursor': 'c'}
S().run()
