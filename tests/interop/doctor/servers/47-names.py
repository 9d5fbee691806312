# a name that clients refuse, one twice, one too long behind the prefix of a client
# KIND stdio
# CAUSE name-illegal
# CAUSE name-long
# CAUSE name-twice
# EXIT 0
# WANT get weather
# WANT listed 2 times
# WANT mcp__
from base import *
class S(Server): tools = [{**TOOL, 'name': n} for n in ('get weather', 'twin', 'twin', 'x' * 60)]
S().run()
