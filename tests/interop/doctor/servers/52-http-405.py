# 405 for POST, no old transport either
# KIND http
# CAUSE http-405
# EXIT 1
# WANT 405
# WANT POST
from base import *
class S(Http):
    def before(self, h, b): self.give(h, 405, '{"detail":"Method Not Allowed"}', 'application/json', {'Allow': 'GET'}); return True
S().run()
