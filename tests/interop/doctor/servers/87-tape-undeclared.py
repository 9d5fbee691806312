# tape: the server asks for sampling and roots that the client did not declare; the client never answers
# KIND tape
# SEND {"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"c","version":"1"}}}
# SEND {"jsonrpc":"2.0","method":"notifications/initialized"}
# SEND {"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"echo","arguments":{}}}
# CAUSE undeclared-ask
# EXIT 1
# WANT sampling/createMessage
# WANT not declare
# WANT never answered
from base import *
class S(Server):
    def on_tools_call(self, m):
        self.send({'jsonrpc': '2.0', 'id': 's1', 'method': 'sampling/createMessage', 'params': {'messages': [], 'maxTokens': 1}})
        self.send({'jsonrpc': '2.0', 'id': 's2', 'method': 'roots/list'})
        return super().on_tools_call(m)
S().run()
