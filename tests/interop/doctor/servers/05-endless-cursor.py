# every page has a new nextCursor
# KIND stdio
# CAUSE cursor-endless
# EXIT 1
# WANT nextCursor
# WANT tools/list
from base import *
class S(Server):
    n = 0
    def on_tools_list(self, m):
        self.n += 1
        return {'tools': [{**TOOL, 'name': f't{self.n}'}], 'nextCursor': f'c{self.n}'}
S().run()
