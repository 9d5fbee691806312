# 500 for everything
# KIND http
# CAUSE http-500
# EXIT 1
# WANT 500
# WANT Internal Server Error
from base import *
class S(Http):
    def before(self, h, b): self.give(h, 500, 'Internal Server Error', 'text/plain'); return True
S().run()
