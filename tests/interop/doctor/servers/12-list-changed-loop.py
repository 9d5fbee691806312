# announces a changed list after each list
# KIND stdio
# ARGS --timeout 6s
# CAUSE list-loop
# EXIT 1
# WANT list_changed
# WANT loop
# NOT restart the client
from base import *
class S(Server):
    caps = {'tools': {'listChanged': True}}
    def handle(self, m):
        super().handle(m)
        if m.get('method') == 'tools/list': self.send({'jsonrpc': '2.0', 'method': 'notifications/tools/list_changed'})
S().run()
