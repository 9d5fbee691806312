# starts longer than the client waits
# KIND tape
# EXIT 0
# SEND {"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"c","version":"1"}}}
# NOT flush
from base import *
class S(Server):
    def start(self): time.sleep(3)
S().run()
