# initialize is answered with an error
# KIND stdio
# CAUSE initialize-refused
# EXIT 1
# WANT API_KEY
from base import *
class S(Server):
    def on_initialize(self, m): return ('error', -32603, 'API_KEY is not set')
S().run()
