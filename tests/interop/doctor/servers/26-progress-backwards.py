# progress goes backwards
# KIND stdio
# CAUSE progress-back
# EXIT 0
# WANT progress
# WANT 2 after 3
from base import *
class S(Server):
    def on_tools_call(self, m):
        t = m['params'].get('_meta', {}).get('progressToken')
        for p in (1, 3, 2):
            if t is not None: self.send({'jsonrpc': '2.0', 'method': 'notifications/progress', 'params': {'progressToken': t, 'progress': p}})
        return {'content': []}
S().run()
