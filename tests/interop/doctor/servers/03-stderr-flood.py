# 12 MB of short stderr lines; the fault is a tool with a bad schema
# KIND stdio
# ARGS --timeout 20s
# CAUSE schema-root
# EXIT 1
# WANT inputSchema
from base import *
class S(Server):
    tools = [{'name': 'bad', 'description': 'x', 'inputSchema': {'type': 'string'}}]
    def on_tools_list(self, m):
        r = super().on_tools_list(m)
        self.send({'jsonrpc': '2.0', 'id': m['id'], 'result': r})
        for i in range(60): sys.stderr.write('DEBUG tick %06d........\n' % i * 10000)
        sys.stderr.flush()
S().run()
