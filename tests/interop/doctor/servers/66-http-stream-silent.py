# opens a stream for the answer and never answers
# KIND http
# ARGS --timeout 8s
# CAUSE stream-silent
# EXIT 1
# WANT event-stream
# WANT no answer
from base import *
class S(Http):
    def before(self, h, b):
        if h.command == 'POST':
            h.send_response(200); h.send_header('Content-Type', 'text/event-stream'); h.end_headers(); h.wfile.flush(); time.sleep(600)
S().run()
