# a command line quoted as one word
# KIND cmd
# CMD 'python3 server.py'
# CAUSE one-word
# EXIT 3
# WANT python3 server.py
# WANT one word
