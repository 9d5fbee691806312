# a request other than lists and calls is never answered
# KIND tape
# CAUSE unanswered
# EXIT 1
# SEND {"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"c","version":"1"}}}
# SEND {"jsonrpc":"2.0","method":"notifications/initialized"}
# SEND {"jsonrpc":"2.0","id":2,"method":"resources/read","params":{"uri":"file:///a"}}
# SEND {"jsonrpc":"2.0","id":3,"method":"ping"}
# SEND {"jsonrpc":"2.0","id":4,"method":"ping"}
# SEND {"jsonrpc":"2.0","id":5,"method":"ping"}
# SEND {"jsonrpc":"2.0","id":6,"method":"ping"}
# WANT resources/read
# WANT no answer
from base import *
class S(Server):
    caps = {'resources': {}}
    def on_resources_read(self, m): return None
S().run()
