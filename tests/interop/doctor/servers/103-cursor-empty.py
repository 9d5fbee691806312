# nextCursor "" that advances: 2026 calls it a cursor, many clients stop
# KIND stdio
# CAUSE cursor-empty
# EXIT 0
# WANT empty
# SAYS 2 tools
from base import *
class S(Server):
    def on_tools_list(self, m):
        if (m.get('params') or {}).get('cursor') == '': return {'tools': [{**TOOL, 'name': 'second'}]}
        return {'tools': [TOOL], 'nextCursor': ''}
S().run()
