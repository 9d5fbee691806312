# asked at /; the server is at /mcp
# KIND http
# URL /
# CAUSE http-404
# EXIT 1
# WANT 404
# WANT /mcp
from base import *
Http().run()
