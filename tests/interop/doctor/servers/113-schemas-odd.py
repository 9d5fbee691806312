# schemas that several clients drop, and names that are there twice
# KIND stdio
# ARGS --no-calls
# CAUSE schema-odd
# CAUSE name-twice
# EXIT 0
# WANT anyOf at the root
# WANT echo is listed 2 times
from base import *
class S(Server):
    tools = [TOOL, {**TOOL, 'inputSchema': {'type': 'object', 'anyOf': [{'required': ['a']}, {'required': ['b']}]}}]
S().run()
