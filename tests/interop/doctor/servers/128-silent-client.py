# a client that says nothing: nothing is known of the server, and it is not blamed
# KIND tape
# EXIT 1
# WANT the client has said nothing
# NOT ended by itself
from base import *
Server().run()
