#!/bin/sh
# login.sh SHADOWCAT CLIENT URL: runs the client, which does not support OAuth, through `forward http
# --login`. The browser is curl, since the authorization server of the suite asks the user nothing.
SHADOWCAT_DATA_DIR=$(mktemp -d)
export SHADOWCAT_DATA_DIR BROWSER='curl -sL -o /dev/null'
said=$SHADOWCAT_DATA_DIR/said
context() { printf '%s' "$MCP_CONFORMANCE_CONTEXT" | sed -n 's/.*"'"$1"'":"\([^"]*\)".*/\1/p'; }
id=$(context client_id) SHADOWCAT_CLIENT_SECRET=$(context client_secret)
export SHADOWCAT_CLIENT_SECRET
# A client secret belongs to one authorization server, which its owner knows: look it up here.
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
