# tape: a valid answer of 200 kB over the inspect limit of the recording
# KIND tape
# FWD --inspect-limit 64k
# SEND {"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"c","version":"1"}}}
# SEND {"jsonrpc":"2.0","method":"notifications/initialized"}
# SEND {"jsonrpc":"2.0","id":2,"method":"tools/list"}
# CAUSE over-limit
# EXIT 1
# WANT inspect limit
# NOT write logs to stderr
# NOT no answer
from base import *
class S(Server): tools = [{**TOOL, 'description': 'x' * 200_000}]
S().run()
