#!/usr/bin/env bash
# verify.sh FILE COMMAND...: the command with --oracle FILE; exit 77, a skipped test, where the
# file is not there.
file=$1
shift
if [ ! -e "$file" ]; then
  echo "skipped: no reference file $file (cmake -Doracles=DIR says where they are)"
  exit 77
fi
exec "$@" --oracle "$file"
