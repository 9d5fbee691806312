# a 2026 server that refuses our version and names one that we do not have
# KIND stdio
# CAUSE no-common-version
# EXIT 1
# WANT 2027-05-05
from base import *
class S(Server):
    era = 2026
    def answer(self, m): return ('error', -32022, 'Unsupported protocol version', {'supported': ['2027-05-05'], 'requested': NEW})
S().run()
