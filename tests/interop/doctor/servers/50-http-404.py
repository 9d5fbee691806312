# 404 with HTML for everything
# KIND http
# CAUSE http-404
# EXIT 1
# WANT 404
# WANT path
from base import *
class S(Http):
    def before(self, h, b): self.give(h, 404, '<html>Not Found</html>', 'text/html'); return True
S().run()
