# structuredContent does not fit the outputSchema of the tool
# KIND stdio
# CAUSE output-schema
# EXIT 1
# WANT structuredContent
# WANT outputSchema
from base import *
class S(Server):
    tools = [{**TOOL, 'outputSchema': {'type': 'object', 'properties': {'n': {'type': 'number'}}, 'required': ['n']}}]
    def on_tools_call(self, m): return {'content': [{'type': 'text', 'text': '{"n":"three"}'}], 'structuredContent': {'n': 'three'}}
S().run()
