# a byte order mark before the first message
# KIND stdio
# CAUSE bom
# EXIT 1
# WANT byte order mark
from base import *
class S(Server):
    first = True
    def send(self, o):
        b = b'\xef\xbb\xbf' if self.first else b''
        self.first = False
        self.raw(b + json.dumps(o).encode() + b'\r\n')
S().run()
