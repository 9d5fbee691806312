# healthy: 2026 HTTP
# KIND http
# EXIT 0
# OK
from base import *
class S(Http): era = 2026
S().run()
