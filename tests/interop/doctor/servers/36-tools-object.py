# tools is an object
# KIND stdio
# CAUSE list-shape
# EXIT 1
# WANT tools is an object
# NOT no tools were listed
from base import *
class S(Server): tools = {'echo': TOOL}
S().run()
