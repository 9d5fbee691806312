# healthy: prompts and resources only
# KIND stdio
# EXIT 0
# OK
from base import *
class S(Server):
    caps = {'prompts': {}, 'resources': {}}
    def on_prompts_list(self, m): return {'prompts': [{'name': 'p'}]}
    def on_resources_list(self, m): return {'resources': [{'uri': 'x://1', 'name': 'x'}]}
S().run()
