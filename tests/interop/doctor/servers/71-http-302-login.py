# 302 to a login page elsewhere
# KIND http
# CAUSE redirect
# EXIT 1
# WANT 302
# WANT sso.example.com
from base import *
class S(Http):
    def before(self, h, b): self.give(h, 302, '', None, {'Location': 'https://sso.example.com/login?next=/mcp'}); return True
S().run()
