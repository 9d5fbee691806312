# lists are open, calls need a token
# KIND http
# CAUSE unauthorized-bare
# EXIT 1
# WANT 401
from base import *
class S(Http):
    def before(self, h, b):
        if b'tools/call' in b: self.give(h, 401, '{"error":"unauthorized"}', 'application/json'); return True
S().run()
