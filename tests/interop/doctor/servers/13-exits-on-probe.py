# a good 2025 server that exits on any request before initialize (rmcp)
# KIND stdio
# CAUSE exits-on-probe
# EXIT 0
# WANT server/discover
# WANT before initialize
# NOT by hand
from base import *
class S(Server):
    greeted = False
    def handle(self, m):
        if m.get('method') == 'initialize': self.greeted = True
        elif not self.greeted:
            self.log('Error: ExpectedInitializeRequest'); sys.exit(1)
        super().handle(m)
S().run()
