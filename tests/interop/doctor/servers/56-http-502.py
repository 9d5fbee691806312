# 502 from a proxy before the server
# KIND http
# CAUSE http-502
# EXIT 1
# WANT 502
# WANT proxy
from base import *
class S(Http):
    def before(self, h, b): self.give(h, 502, '<html><h1>502 Bad Gateway</h1><hr>nginx/1.24.0</html>', 'text/html'); return True
S().run()
