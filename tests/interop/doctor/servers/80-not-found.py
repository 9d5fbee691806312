# no such program
# KIND cmd
# CMD no-such-program-anywhere
# CAUSE not-found
# EXIT 3
# WANT not found in PATH
