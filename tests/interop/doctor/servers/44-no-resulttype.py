# a 2026 server whose results lack resultType
# KIND stdio
# CAUSE no-result-type
# EXIT 0
# WANT resultType
from base import *
class S(Server):
    era = 2026
    def complete(self, r): return r
S().run()
