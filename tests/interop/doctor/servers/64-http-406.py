# 406 with the foreign id "server-error" (Python SDK 1 does so when its answer type is not accepted)
# KIND http
# CAUSE http-406
# EXIT 1
# WANT 406
# WANT Not Acceptable
from base import *
class S(Http):
    def before(self, h, b): self.give(h, 406, '{"jsonrpc":"2.0","id":"server-error","error":{"code":-32600,"message":"Not Acceptable: Client must accept text/event-stream"}}', 'application/json'); return True
S().run()
