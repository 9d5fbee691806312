# tools/list needs 3 s of the 8 s: fine; prompts are declared and -32601
# KIND stdio
# ARGS --timeout 8s
# CAUSE over-declared
# EXIT 0
# WANT declares prompts
from base import *
class S(Server):
    caps = {'tools': {}, 'prompts': {}}
    def on_tools_list(self, m): time.sleep(3); return {'tools': [TOOL]}
S().run()
