# tools/list is never answered; asked within 2 s of the end
# KIND stdio
# ARGS --timeout 1500ms
# CAUSE list-silent
# EXIT 1
# WANT tools/list
# WANT no answer
from base import *
class S(Server):
    def on_tools_list(self, m): return None
S().run()
