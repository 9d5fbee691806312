# healthy: each call changes the list, and says so
# KIND tape
# EXIT 0
# OK
# SEND {"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{"roots":{}},"clientInfo":{"name":"c","version":"1"}}}
# SEND {"jsonrpc":"2.0","method":"notifications/initialized"}
# SEND {"jsonrpc":"2.0","id":2,"method":"tools/list"}
# SEND {"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"echo","arguments":{}}}
# SEND {"jsonrpc":"2.0","id":4,"method":"tools/list"}
# SEND {"jsonrpc":"2.0","id":5,"method":"tools/call","params":{"name":"echo","arguments":{}}}
# SEND {"jsonrpc":"2.0","id":6,"method":"tools/list"}
# SEND {"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"echo","arguments":{}}}
# SEND {"jsonrpc":"2.0","id":9,"method":"tools/list"}
from base import *
class S(Server):
    caps = {'tools': {'listChanged': True}}
    def handle(self, m):
        super().handle(m)
        if m.get('method') == 'tools/call': self.send({'jsonrpc': '2.0', 'method': 'notifications/tools/list_changed'})
S().run()
