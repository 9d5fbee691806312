# Latin-1 in a description
# KIND stdio
# ARGS --timeout 4s
# CAUSE framing-utf8
# EXIT 1
# WANT UTF-8
from base import *
class S(Server):
    tools = [{**TOOL, 'description': 'Größe'}]
    def send(self, o): self.raw(json.dumps(o, ensure_ascii=False).encode('latin-1') + b'\n')
S().run()
