# 415 for application/json
# KIND http
# CAUSE http-415
# EXIT 1
# WANT 415
from base import *
class S(Http):
    def before(self, h, b): self.give(h, 415, 'Unsupported Media Type', 'text/plain'); return True
S().run()
