# messages without "jsonrpc"
# KIND stdio
# CAUSE no-jsonrpc
# EXIT 1
# WANT lacks "jsonrpc":"2.0"
from base import *
class S(Server):
    def send(self, o): o.pop('jsonrpc', None); super().send(o)
S().run()
