#!/bin/sh
# Gates a CI job on what an MCP client and server say to each other: no error, and no call slower
# than a second. Usage: gate.sh NAME COMMAND...
#
# COMMAND runs the client under test, whose configuration starts the server through
# `shadowcat forward stdio --name NAME -- ...`. While it runs, this script follows the session;
# afterwards it looks through the recording as well, since a session may end before it was seen.
set -eu
name=$1
shift
shadowcat=${SHADOWCAT:-shadowcat}
bad='status:error | dur:>1s'

said=$(mktemp)
trap 'rm -f "$said"' EXIT

"$@" &
client=$!

# Follows the session from its first message on, until it ends.
if "$shadowcat" ctl wait --session "$name" --filter '' --from 1 --timeout 20s >/dev/null 2>&1; then
    "$shadowcat" ctl frames --session "$name" --from 1 --filter "$bad" --follow --output json >"$said" || true
fi
status=0
wait "$client" || status=$?

"$shadowcat" tape show "$name" --filter "$bad" --output json >>"$said"
if grep -q '"seq"' "$said"; then
    echo "gate: $name had errors, or calls slower than a second:" >&2
    "$shadowcat" tape show "$name" --filter "$bad" >&2
    exit 1
fi
echo "gate: $name is fine"
exit "$status"
