# right messages with content type text/plain
# KIND http
# CAUSE content-type
# EXIT 1
# WANT text/plain
# WANT application/json
from base import *
class S(Http):
    def give(self, h, status, body=b'', kind=None, head={}): super().give(h, status, body, 'text/plain' if kind else None, head)
S().run()
