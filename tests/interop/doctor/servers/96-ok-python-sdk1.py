# healthy: 2025 HTTP that answers server/discover with 400 and the foreign id "server-error" (Python SDK 1)
# KIND http
# EXIT 0
# OK
from base import *
class S(Http):
    session = 'abc'; sse = True
    def before(self, h, b):
        if b'server/discover' in b: self.give(h, 400, '{"jsonrpc":"2.0","id":"server-error","error":{"code":-32600,"message":"Bad Request: Missing session ID"}}', 'application/json'); return True
S().run()
