# a call answered with result null
# KIND stdio
# CAUSE result-shape
# EXIT 1
# WANT result is null
from base import *
class S(Server):
    def on_tools_call(self, m): self.send({'jsonrpc': '2.0', 'id': m['id'], 'result': None})
S().run()
