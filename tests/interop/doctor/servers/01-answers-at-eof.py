# reads all of stdin before it answers: a client that keeps stdin open waits for ever
# KIND stdio  
# ARGS --timeout 6s
# CAUSE answers-at-eof
# EXIT 1
# WANT only after stdin was closed
import sys, json
from base import *
class S(Server):
    def run(self):
        for line in sys.stdin.read().splitlines():
            if line.strip(): self.handle(json.loads(line))
S().run()
