# server/discover lists only old versions, and initialize fails
# KIND stdio
# CAUSE discover-only-old
# EXIT 1
# WANT supportedVersions
from base import *
class S(Server):
    def on_server_discover(self, m): return {'supportedVersions': ['2025-11-25'], 'capabilities': self.caps}
    def on_initialize(self, m): return ('error', -32601, 'Method not found')
S().run()
