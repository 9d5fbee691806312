# LSP framing
# KIND stdio
# ARGS --timeout 4s
# CAUSE framing-lsp
# EXIT 1
# WANT Content-Length
# WANT one message a line
from base import *
class S(Server):
    def send(self, o):
        b = json.dumps(o).encode(); self.raw(b'Content-Length: %d\r\n\r\n' % len(b) + b)
S().run()
