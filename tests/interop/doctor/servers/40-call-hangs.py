# a read-only tool that never answers
# KIND stdio
# ARGS --timeout 5s
# CAUSE call-silent
# EXIT 1
# WANT echo
# WANT no answer
from base import *
class S(Server):
    def on_tools_call(self, m): return None
S().run()
