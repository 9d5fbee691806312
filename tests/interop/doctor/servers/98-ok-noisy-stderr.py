# healthy: 2 000 lines on stderr
# KIND stdio
# EXIT 0
# OK
from base import *
class S(Server):
    def start(self):
        for i in range(2000): self.log(f'INFO line {i}')
S().run()
