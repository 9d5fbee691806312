# tape: the server asks for roots, which the client declared, and the client never answers
# KIND tape
# CAUSE ask-unanswered
# SEND {"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{"roots":{}},"clientInfo":{"name":"c","version":"1"}}}
# SEND {"jsonrpc":"2.0","method":"notifications/initialized"}
# SEND {"jsonrpc":"2.0","id":2,"method":"ping"}
# SEND {"jsonrpc":"2.0","id":3,"method":"ping"}
# SEND {"jsonrpc":"2.0","id":4,"method":"ping"}
# SEND {"jsonrpc":"2.0","id":5,"method":"ping"}
# SEND {"jsonrpc":"2.0","id":6,"method":"ping"}
# EXIT 1
# WANT roots/list
# WANT client
from base import *
class S(Server):
    asked = False
    def got(self, m):
        if not self.asked: self.asked = True; self.send({'jsonrpc': '2.0', 'id': 'r', 'method': 'roots/list'})
S().run()
