# the port of its side channel is in use
# KIND stdio
# CAUSE port-in-use
# EXIT 1
# WANT EADDRINUSE
import sys
sys.stderr.write('Error: listen EADDRINUSE: address already in use :::3000\n' + '    at x\n' * 9); sys.exit(1)
