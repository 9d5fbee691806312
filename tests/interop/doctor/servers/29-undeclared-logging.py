# sends log messages without declaring logging
# KIND stdio
# CAUSE undeclared-notice
# EXIT 0
# WANT logging
from base import *
class S(Server):
    def got(self, m): self.send({'jsonrpc': '2.0', 'method': 'notifications/message', 'params': {'level': 'info', 'data': 'hi'}})
S().run()
