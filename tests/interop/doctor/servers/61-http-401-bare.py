# 401 without WWW-Authenticate
# KIND http
# CAUSE unauthorized-bare
# EXIT 1
# WANT 401
# WANT WWW-Authenticate
# WANT --header
from base import *
class S(Http):
    def before(self, h, b): self.give(h, 401, '{"error":"unauthorized"}', 'application/json'); return True
S().run()
