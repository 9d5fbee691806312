# healthy: patterns with look-around, as zod writes them
# KIND stdio
# ARGS --no-calls
# EXIT 0
# OK
from base import *
MAIL = r"^(?!\.)(?!.*\.\.)([A-Za-z0-9_'+\-\.]*)[A-Za-z0-9_+-]@([A-Za-z0-9][A-Za-z0-9\-]*\.)+[A-Za-z]{2,}$"
class S(Server): tools = [{**TOOL, 'inputSchema': {'type': 'object', 'properties': {'mail': {'type': 'string', 'pattern': MAIL}}}}]
S().run()
