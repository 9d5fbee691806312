# each answer comes twice
# KIND stdio
# CAUSE odd-order
# EXIT 0
# WANT duplicate
from base import *
class S(Server):
    def send(self, o): super().send(o); super().send(o)
S().run()
