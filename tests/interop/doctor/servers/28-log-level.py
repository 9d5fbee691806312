# a log level that the protocol does not have
# KIND stdio
# CAUSE log-level
# EXIT 0
# WANT "warn"
# WANT level
from base import *
class S(Server):
    caps = {'tools': {}, 'logging': {}}
    def got(self, m): self.send({'jsonrpc': '2.0', 'method': 'notifications/message', 'params': {'level': 'warn', 'data': 'hi'}})
S().run()
