# a type that does not exist
# KIND stdio
# CAUSE schema-invalid
# EXIT 1
# WANT nonsense
from base import *
class S(Server): tools = [{**TOOL, 'inputSchema': {'type': 'object', 'properties': {'a': {'type': 'nonsense'}}}}]
S().run()
