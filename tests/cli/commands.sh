#!/usr/bin/env bash
# Every command that documents and --help print, as it stands.
. "$(dirname "$0")/common.sh"
here=$(cd "$(dirname "$0")" && pwd)
cd "$work" || exit 1
LC_ALL=C.UTF-8 python3 "$here/commands.py" "$dhcc" "$here/../.." || fail "commands of documents"
finish
