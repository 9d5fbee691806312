# tape: a call that is never answered, asked 1 s before the client hangs up
# KIND tape
# SEND {"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"c","version":"1"}}}
# SEND {"jsonrpc":"2.0","method":"notifications/initialized"}
# SEND {"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"echo","arguments":{}}}
# CAUSE no-time
# EXIT 1
# WANT echo
# WANT no answer
from base import *
class S(Server):
    def on_tools_call(self, m): return None
S().run()
