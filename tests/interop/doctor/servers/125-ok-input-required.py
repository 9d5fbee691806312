# healthy: a tool of 2026-07-28 that needs input
# KIND stdio
# EXIT 0
# OK
from base import *
class S(Server):
    era = 2026
    def on_tools_call(self, m):
        if 'inputResponses' in m['params']: return self.complete({'content': []})
        return {'resultType': 'input_required', 'inputRequests': {'r': {'method': 'roots/list'}}, 'requestState': 's'}
S().run()
