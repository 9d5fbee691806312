# nobody listens
# KIND refused
# CAUSE refused
# EXIT 3
# WANT Connection refused
