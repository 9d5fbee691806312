# ends by itself with an error, and with no request under way
# KIND stdio
# CAUSE exited
# EXIT 1
# WANT exited with code 3
# WANT lost the database
from base import *
class S(Server):
    caps = {}
    def got(self, m): self.log('error: lost the database'); os._exit(3)
S().run()
