# tape: a client whose probe was refused and that never sends initialize
# KIND tape
# SEND {"jsonrpc":"2.0","id":1,"method":"server/discover","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}
# CAUSE no-initialize
# EXIT 1
# WANT initialize
# WANT client
# NOT answer `initialize`
from base import *
Server().run()
