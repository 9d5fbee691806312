# tape: the server says that its tools changed, the client never lists again
# KIND tape
# SEND {"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"c","version":"1"}}}
# SEND {"jsonrpc":"2.0","method":"notifications/initialized"}
# SEND {"jsonrpc":"2.0","id":2,"method":"tools/list"}
# SEND {"jsonrpc":"2.0","id":3,"method":"ping"}
# CAUSE stale-list
# EXIT 0
# WANT list_changed
# WANT client
from base import *
class S(Server):
    caps = {'tools': {'listChanged': True}}
    def handle(self, m):
        super().handle(m)
        if m.get('method') == 'ping': self.send({'jsonrpc': '2.0', 'method': 'notifications/tools/list_changed'})
S().run()
