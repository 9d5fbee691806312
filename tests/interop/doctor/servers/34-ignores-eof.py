# lives on when stdin ends
# KIND stdio
# CAUSE outlives-stdin
# EXIT 0
# WANT still running
import time
from base import *
class S(Server):
    def end(self): time.sleep(30)
S().run()
