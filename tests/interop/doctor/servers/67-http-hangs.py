# accepts the connection and never answers
# KIND http
# ARGS --timeout 8s
# CAUSE http-silent
# EXIT 3
# WANT no answer
import socket
from base import *
s = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen(); port(s.getsockname()[1])
keep = []
while True: keep.append(s.accept())
