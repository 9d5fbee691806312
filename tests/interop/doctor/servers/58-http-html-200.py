# 200 with a web page
# KIND http
# CAUSE web-page
# EXIT 1
# WANT text/html
# WANT My app
from base import *
class S(Http):
    def before(self, h, b): self.give(h, 200, '<!doctype html><title>My app</title>', 'text/html'); return True
S().run()
