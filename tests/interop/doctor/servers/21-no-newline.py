# messages without a newline at the end
# KIND stdio
# ARGS --timeout 4s
# CAUSE framing-newline
# EXIT 1
# WANT newline
from base import *
class S(Server):
    def send(self, o): self.raw(json.dumps(o).encode())
S().run()
