# the second page is refused: its own cursor "expired"
# KIND stdio
# CAUSE cursor-refused
# EXIT 1
# WANT cursor
# WANT page 2
from base import *
class S(Server):
    def on_tools_list(self, m):
        if (m.get('params') or {}).get('cursor'): return ('error', -32602, 'cursor expired')
        return {'tools': [TOOL], 'nextCursor': 'p2'}
S().run()
