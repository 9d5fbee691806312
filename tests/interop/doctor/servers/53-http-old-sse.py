# the old HTTP+SSE transport (2024-11-05)
# KIND http
# URL /sse
# CAUSE old-sse
# EXIT 1
# WANT 405
# WANT HTTP+SSE
# WANT 2024-11-05
from base import *
class S(Http):
    def before(self, h, b):
        if h.command == 'GET' and h.path == '/sse':
            h.send_response(200); h.send_header('Content-Type', 'text/event-stream'); h.end_headers()
            h.wfile.write(b'event: endpoint\ndata: /messages?sessionId=abc\n\n'); h.wfile.flush(); time.sleep(600)
        elif h.path.startswith('/messages'): self.give(h, 202, 'Accepted', 'text/plain')
        else: self.give(h, 405, '{"detail":"Method Not Allowed"}', 'application/json', {'Allow': 'GET'})
        return True
S().run()
