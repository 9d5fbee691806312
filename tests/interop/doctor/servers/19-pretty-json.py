# a message over several lines
# KIND stdio
# ARGS --timeout 4s
# CAUSE framing-pretty
# EXIT 1
# WANT several lines
from base import *
class S(Server):
    def send(self, o): self.raw(json.dumps(o, indent=2).encode() + b'\n')
S().run()
