# the body of initialize breaks off
# KIND http
# CAUSE broken-off
# EXIT 1
# WANT broke off
from base import *
class S(Http):
    def before(self, h, b):
        if b'"initialize"' in b:
            h.send_response(200); h.send_header('Content-Type', 'application/json'); h.send_header('Content-Length', '500'); h.end_headers()
            h.wfile.write(b'{"jsonrpc":"2.0","id":2,"result":{'); h.wfile.flush(); h.connection.shutdown(2); h.close_connection = True; return True
S().run()
