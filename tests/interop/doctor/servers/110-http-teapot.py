# a status that says nothing of MCP
# KIND http
# CAUSE http-refused
# EXIT 1
# WANT 418
from base import *
class S(Http):
    def before(self, h, b): self.give(h, 418, 'short and stout', 'text/plain'); return True
S().run()
