# 200 with JSON that is no message (a REST API)
# KIND http
# CAUSE not-rpc
# EXIT 1
# WANT application/json
# WANT "status"
from base import *
class S(Http):
    def before(self, h, b): self.give(h, 200, '{"status":"ok"}', 'application/json'); return True
S().run()
