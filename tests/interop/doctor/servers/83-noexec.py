# a script without the executable bit
# KIND cmd
# CMD ./84-answers.txt
# CAUSE not-executable
# EXIT 3
# WANT executable
