# a valid answer of 20 MB: the doctor inspects up to 64 MiB
# KIND stdio
# ARGS --timeout 20s
# CAUSE costly
# EXIT 0
# WANT tokens
# NOT write logs to stderr
from base import *
class S(Server): tools = [{**TOOL, 'description': 'x' * 20_000_000}]
S().run()
