# tape: the client sends params as an array, and a progress token twice
# KIND tape
# SEND {"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"c","version":"1"}}}
# SEND {"jsonrpc":"2.0","method":"notifications/initialized"}
# SEND {"jsonrpc":"2.0","id":2,"method":"tools/call","params":["echo",{}]}
# CAUSE array-params
# EXIT 0
# WANT params is an array
from base import *
Server().run()
