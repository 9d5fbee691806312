# alive, reads, never says anything
# KIND stdio
# ARGS --timeout 8s
# CAUSE no-answer
# EXIT 1
# WANT still running
# WANT no answer
import sys
for line in sys.stdin: pass
