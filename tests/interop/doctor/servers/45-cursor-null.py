# nextCursor is null on the last page (strict clients refuse the whole list)
# KIND stdio
# CAUSE cursor-null
# EXIT 0
# WANT nextCursor
# WANT null
from base import *
class S(Server):
    def on_tools_list(self, m): return {'tools': [TOOL], 'nextCursor': None}
S().run()
