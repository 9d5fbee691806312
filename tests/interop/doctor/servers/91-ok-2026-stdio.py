# healthy: 2026 stdio
# KIND stdio
# EXIT 0
# OK
from base import *
class S(Server): era = 2026
S().run()
