# healthy: 2025 HTTP, JSON answers, a session
# KIND http
# EXIT 0
# OK
from base import *
class S(Http): session = 'abc'
S().run()
