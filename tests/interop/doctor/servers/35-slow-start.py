# needs 7 s before it reads: past the probe's patience
# KIND stdio
# CAUSE slow-start
# EXIT 0
# WANT 7
# WANT first answer
import time
from base import *
class S(Server):
    def start(self): time.sleep(7)
S().run()
