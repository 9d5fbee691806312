# every request gets 202 and no message
# KIND http
# CAUSE accepted-only
# EXIT 1
# WANT 202
from base import *
class S(Http):
    def before(self, h, b): self.give(h, 202); return True
S().run()
