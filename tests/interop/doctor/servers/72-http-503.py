# 503 while it starts
# KIND http
# CAUSE http-502
# EXIT 1
# WANT 503
from base import *
class S(Http):
    def before(self, h, b): self.give(h, 503, 'Service Unavailable', 'text/plain'); return True
S().run()
