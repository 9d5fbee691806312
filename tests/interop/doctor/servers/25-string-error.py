# error is a string
# KIND stdio
# CAUSE error-shape
# EXIT 1
# WANT error is a string
from base import *
class S(Server):
    def on_tools_call(self, m): self.send({'jsonrpc': '2.0', 'id': m['id'], 'error': 'boom'})
S().run()
