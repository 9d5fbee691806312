# a tool without a name, and null in the list
# KIND stdio
# ARGS --no-calls
# CAUSE list-shape
# EXIT 1
# WANT tools[1]
from base import *
class S(Server): tools = [TOOL, None]
S().run()
