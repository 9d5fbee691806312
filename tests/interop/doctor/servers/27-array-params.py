# a notification whose params are an array
# KIND stdio
# CAUSE array-params
# EXIT 0
# WANT params is an array
from base import *
class S(Server):
    caps = {'tools': {}, 'logging': {}}
    def got(self, m): self.send({'jsonrpc': '2.0', 'method': 'notifications/message', 'params': ['info', 'hi']})
S().run()
