# half an emoji: valid JSON; the other tool's schema is broken
# KIND stdio
# CAUSE schema-root
# EXIT 1
# WANT inputSchema
# NOT no tools were listed
from base import *
class S(Server): tools = [{**TOOL, 'description': 'half \ud83d'}, {'name': 'bad', 'description': 'x', 'inputSchema': {'type': 'string'}}]
S().run()
