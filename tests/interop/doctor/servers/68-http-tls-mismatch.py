# https asked, the port speaks http
# KIND https
# CAUSE tls
# EXIT 3
# WANT TLS
# WANT http://
from base import *
Http().run()
