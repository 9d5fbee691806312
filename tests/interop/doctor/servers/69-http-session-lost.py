# 404 to its own session id: replicas without sticky sessions
# KIND http
# CAUSE session-lost
# EXIT 1
# WANT 404
# WANT session
from base import *
class S(Http):
    session = 'abc'
    def before(self, h, b):
        if h.headers.get('mcp-session-id'): self.give(h, 404, '{"jsonrpc":"2.0","id":null,"error":{"code":-32001,"message":"Session not found"}}', 'application/json'); return True
S().run()
