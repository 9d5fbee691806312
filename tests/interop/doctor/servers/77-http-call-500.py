# a read-only tool gets 500 with text
# KIND http
# CAUSE call-refused
# EXIT 1
# WANT echo
# WANT 500
from base import *
class S(Http):
    def post(self, h, m):
        if m.get('method') == 'tools/call': return self.give(h, 500, 'Traceback: KeyError', 'text/plain')
        super().post(h, m)
S().run()
