# accepts and resets
# KIND http
# CAUSE reset
# EXIT 3
# WANT closed the connection
import socket, struct
from base import *
s = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen(); port(s.getsockname()[1])
while True:
    c, _ = s.accept(); c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0)); c.close()
