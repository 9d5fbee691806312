# the proxy of the environment is dead
# KIND http
# ENV http_proxy=http://127.0.0.1:9
# CAUSE proxy
# EXIT 3
# WANT proxy 127.0.0.1:9
from base import *
Http().run()
