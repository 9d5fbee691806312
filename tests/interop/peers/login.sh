#!/bin/sh
# login.sh SHADOWCAT CLIENT URL: runs the client, which knows nothing of OAuth, against a hop of ours
# that logs in. The person is curl: the suite's authorization server asks nothing.
SHADOWCAT_DATA_DIR=$(mktemp -d)
export SHADOWCAT_DATA_DIR BROWSER='curl -sL -o /dev/null'
said=$SHADOWCAT_DATA_DIR/said
context() { printf '%s' "$MCP_CONFORMANCE_CONTEXT" | sed -n 's/.*"'"$1"'":"\([^"]*\)".*/\1/p'; }
id=$(context client_id) SHADOWCAT_CLIENT_SECRET=$(context client_secret)
export SHADOWCAT_CLIENT_SECRET
# A secret is for one server, which a person knows who was given it.
if [ -n "$SHADOWCAT_CLIENT_SECRET" ]; then
    resource=$(printf '%s' "$3" | sed 's#^\(http://[^/]*\)#\1/.well-known/oauth-protected-resource#')
    issuer=$(curl -s "$resource" | sed -n 's/.*"authorization_servers":\["\([^"]*\)".*/\1/p')
fi
"$1" forward http --login ${id:+--client-id "$id"} ${issuer:+--issuer "$issuer"} --no-tape --upstream "$3" 2>"$said" </dev/null &
hop=$!
trap 'cat "$said" >&2; kill $hop; wait $hop; rm -rf "$SHADOWCAT_DATA_DIR"' EXIT
until url=$(sed -n 's/^listening on //p' "$said") && [ -n "$url" ]; do
    kill -0 $hop 2>/dev/null || exit 1
    sleep 0.02
done
"$2" "$url"
