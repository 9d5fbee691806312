# notifications/initialized gets 500
# KIND http
# CAUSE notification-refused
# EXIT 1
# WANT notifications/initialized
# WANT 500
from base import *
class S(Http):
    def post(self, h, m):
        if 'id' not in m: return self.give(h, 500, 'oops', 'text/plain')
        super().post(h, m)
S().run()
