# healthy: 130 pages of tools, one each
# KIND stdio
# EXIT 0
# OK
# SAYS 130 tools
from base import *
class S(Server):
    def on_tools_list(self, m):
        n = int((m.get('params') or {}).get('cursor', 0)); r = {'tools': [{**TOOL, 'name': f't{n}'}]}
        if n < 129: r['nextCursor'] = str(n + 1)
        return r
S().run()
