# initialize result with a version that was never published
# KIND stdio
# CAUSE unknown-version
# EXIT 1
# WANT "1.0"
# WANT published
from base import *
class S(Server): version = '1.0'
S().run()
