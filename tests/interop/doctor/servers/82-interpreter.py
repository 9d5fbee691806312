# the first line names an interpreter that is missing
# KIND cmd
# CMD ./82-interp.script
# CAUSE no-interpreter
# EXIT 3
# WANT interpreter
# WANT /usr/bin/no-such-python
