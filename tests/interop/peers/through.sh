#!/bin/sh
# through.sh SHADOWCAT OPTIONS CLIENT URL: runs the client through `forward http` in front of the URL.
said=$(mktemp)
"$1" forward http $2 --no-tape --upstream "$4" 2>"$said" &
hop=$!
trap 'kill $hop; wait $hop; rm -f "$said"' EXIT
until url=$(sed -n 's/^listening on //p' "$said") && [ -n "$url" ]; do
    kill -0 $hop || exit 1
    sleep 0.02
done
"$3" "$url"
