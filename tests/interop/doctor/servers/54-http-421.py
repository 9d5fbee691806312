# 421 Invalid Host header (Python SDK)
# KIND http
# CAUSE http-421
# EXIT 1
# WANT 421
# WANT Invalid Host header
from base import *
class S(Http):
    def before(self, h, b): self.give(h, 421, 'Invalid Host header', 'text/plain'); return True
S().run()
