# healthy: 2025 stdio
# KIND stdio
# EXIT 0
# OK
from base import *
Server().run()
