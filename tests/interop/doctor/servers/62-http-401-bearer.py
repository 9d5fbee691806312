# 401 with a challenge
# KIND http
# CAUSE unauthorized
# EXIT 1
# WANT 401
# WANT --login
from base import *
class S(Http):
    def before(self, h, b): self.give(h, 401, '', None, {'WWW-Authenticate': 'Bearer resource_metadata="http://127.0.0.1:1/.well-known/oauth-protected-resource"'}); return True
S().run()
