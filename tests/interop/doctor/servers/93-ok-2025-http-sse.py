# healthy: 2025 HTTP, answers as streams, no session
# KIND http
# EXIT 0
# OK
from base import *
class S(Http): sse = True
S().run()
