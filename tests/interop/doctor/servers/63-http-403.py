# 403 from a firewall
# KIND http
# CAUSE forbidden
# EXIT 1
# WANT 403
# WANT Cloudflare
from base import *
class S(Http):
    def before(self, h, b): self.give(h, 403, '<html>Attention Required! Cloudflare</html>', 'text/html'); return True
S().run()
