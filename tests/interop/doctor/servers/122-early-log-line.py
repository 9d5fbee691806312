# logs a module that it does without, and dies later of something else
# KIND stdio
# CAUSE died-in-call
# EXIT 1
# WANT ZeroDivisionError
# NOT Python does not find a module
from base import *
class S(Server):
    def start(self): self.log("No module named 'uvloop', using asyncio")
    def on_tools_list(self, m): 1 / 0
S().run()
