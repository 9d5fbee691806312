# ends at once with code 0 and says nothing (a script that only defines functions)
# KIND stdio
# CAUSE exited-silently
# EXIT 1
# WANT ended by itself
# WANT code 0
