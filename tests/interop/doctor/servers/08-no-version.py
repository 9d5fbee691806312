# initialize result without protocolVersion
# KIND stdio
# CAUSE no-version
# EXIT 1
# WANT without protocolVersion
from base import *
class S(Server):
    def on_initialize(self, m): return {'capabilities': self.caps, 'serverInfo': self.info()}
S().run()
