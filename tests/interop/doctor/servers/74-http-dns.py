# a name that does not resolve
# KIND dns
# CAUSE unresolved
# EXIT 3
# WANT no-such-host.invalid
# WANT resolve
