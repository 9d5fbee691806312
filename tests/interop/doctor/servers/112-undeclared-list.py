# answers a list that it does not declare, in answer to a client that asks all the same
# KIND tape
# CAUSE undeclared-list
# EXIT 0
# SEND {"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"c","version":"1"}}}
# SEND {"jsonrpc":"2.0","method":"notifications/initialized"}
# SEND {"jsonrpc":"2.0","id":2,"method":"tools/list"}
# WANT does not declare tools
from base import *
class S(Server):
    caps = {'prompts': {}}
    def on_tools_list(self, m): return {'tools': self.tools}
S().run()
