#!/bin/sh
# Installs the pinned peers into the given directory, and makes the fixed data that their servers work on.
set -e
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1" && cd "$1"
cp "$here"/*.json "$here"/*.txt "$here"/*.py "$here"/*.mjs "$here"/through.sh "$here"/login.sh .
npm ci --no-fund --no-audit --silent
[ -x venv/bin/python ] || python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check -r requirements.txt -c requirements.lock.txt
rm -rf data && mkdir -p data/dir && echo hello > data/dir/hello.txt
git init -q -b main data/repo
export GIT_AUTHOR_NAME=peer GIT_AUTHOR_EMAIL=p@example.org GIT_AUTHOR_DATE='2026-01-01T00:00:00Z'
export GIT_COMMITTER_NAME=peer GIT_COMMITTER_EMAIL=p@example.org GIT_COMMITTER_DATE='2026-01-01T00:00:00Z'
for n in one two three; do echo $n > data/repo/$n; git -C data/repo add .; git -C data/repo commit -qm $n; done
