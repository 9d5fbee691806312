# capabilities is an array
# KIND stdio
# CAUSE bad-capabilities
# EXIT 1
# WANT capabilities is an array
from base import *
class S(Server): caps = []; 
S.on_tools_list = lambda s, m: {'tools': [TOOL]}
S().run()
