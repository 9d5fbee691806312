# a banner on stdout
# KIND stdio
# CAUSE stray-line
# EXIT 1
# WANT Server running
# WANT stderr
from base import *
class S(Server):
    def start(self): self.raw(b'Server running on stdio\n')
S().run()
