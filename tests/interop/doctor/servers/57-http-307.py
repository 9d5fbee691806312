# 307 to /mcp/ (Starlette mount), a good server there: our own client follows (D6), so a note
# KIND http
# CAUSE redirect-same
# EXIT 0
# WANT 307
# WANT /mcp/
from base import *
class S(Http):
    path = '/mcp/'
    def before(self, h, b):
        if h.path == '/mcp': self.give(h, 307, '', None, {'Location': f"http://{h.headers['host']}/mcp/"}); return True
S().run()
