# a progress bar on stdout, drawn with carriage returns
# KIND stdio
# CAUSE framing-progress
# EXIT 1
# WANT progress
from base import *
class S(Server):
    def start(self):
        for percent in (10, 50, 100): self.raw(b'\rloading %d %%' % percent)
        self.raw(b'\n')
S().run()
