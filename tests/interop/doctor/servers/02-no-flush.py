# answers, but stdout is block-buffered and never flushed (print in a pipe)
# KIND stdio
# ARGS --timeout 6s
# CAUSE answers-at-eof
# EXIT 1
# WANT only after stdin was closed
# WANT flush
from base import *
class S(Server):
    def raw(self, b): sys.stdout.buffer.write(b)
S().run()
