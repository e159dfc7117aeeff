#!/usr/bin/env bash
# The tutorial, word for word.
. "$(dirname "$0")/common.sh"
here=$(cd "$(dirname "$0")" && pwd)
cd "$work" || exit 1
python3 "$here/tutorial.py" "$dhcc" "$here/../../docs/tutorial.md" || fail "docs/tutorial.md"
finish
