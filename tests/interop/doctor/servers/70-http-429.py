# 429 with Retry-After
# KIND http
# CAUSE http-429
# EXIT 1
# WANT 429
# WANT 60
from base import *
class S(Http):
    def before(self, h, b): self.give(h, 429, 'Too Many Requests', 'text/plain', {'Retry-After': '60'}); return True
S().run()
