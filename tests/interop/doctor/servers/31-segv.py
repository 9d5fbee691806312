# dies of SIGSEGV in initialize
# KIND stdio
# CAUSE died-in-call
# EXIT 1
# WANT SIGSEGV
# WANT initialize
import os, signal
from base import *
class S(Server):
    def on_initialize(self, m): os.kill(os.getpid(), signal.SIGSEGV)
S().run()
