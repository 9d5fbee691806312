# a question on stdout without a newline, as npx asks
# KIND stdio
# ARGS --timeout 8s
# CAUSE prompt
# EXIT 1
# WANT Ok to proceed? (y)
# WANT newline
import sys
sys.stdout.write('Need to install the following packages:\n  weather@1.0.0\nOk to proceed? (y) '); sys.stdout.flush()
for line in sys.stdin: pass
