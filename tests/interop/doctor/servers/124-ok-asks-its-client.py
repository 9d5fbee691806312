# healthy: asks the client over the stream of its request
# KIND http
# EXIT 0
# OK
from base import *
class S(Http):
    sse = True; asked = 0
    def post(self, h, m):
        self.asks = m.get('method') == 'tools/call'
        super().post(h, m)
    def give(self, h, status, body=b'', kind=None, head={}):
        if kind == 'text/event-stream' and self.asks: body = 'event: message\ndata: {"jsonrpc":"2.0","id":"p1","method":"ping"}\n\n' + body
        super().give(h, status, body, kind, head)
S().run()
