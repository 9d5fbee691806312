# a token on stderr
# KIND stdio
# CAUSE secret
# EXIT 0
# WANT looks like
from base import *
class S(Server):
    def start(self): self.log('token ghp_abcdefghijklmnopqrstuvwxyz0123456789')
S().run()
