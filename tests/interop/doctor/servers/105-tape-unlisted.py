# tape: a tool is called that no list names
# KIND tape
# CAUSE unlisted-tool
# SEND {"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"c","version":"1"}}}
# SEND {"jsonrpc":"2.0","method":"notifications/initialized"}
# SEND {"jsonrpc":"2.0","id":2,"method":"tools/list"}
# SEND {"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"ghost","arguments":{}}}
# EXIT 0
# WANT ghost
from base import *
Server().run()
