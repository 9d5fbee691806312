# content has strings in the place of items
# KIND stdio
# CAUSE result-shape
# EXIT 1
# WANT without a type
from base import *
class S(Server):
    def on_tools_call(self, m): return {'content': ['hi']}
S().run()
