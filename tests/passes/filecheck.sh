#!/bin/sh
# filecheck.sh OPT FILE.gir: runs the RUN lines of FILE with dhc-opt and FileCheck.
# A line "RUN: not …" wants exit status 1. $FILECHECK names another FileCheck.
set -u
opt=$1 file=$2 status=0
sed -n 's,^// RUN: ,,p' "$file" >"${TMPDIR:-/tmp}/runs.$$"
while IFS= read -r line; do
  command=$(printf '%s' "$line" |
    sed -e "s,dhc-opt,$opt,g" -e "s,FileCheck-19,${FILECHECK:-FileCheck-19},g" -e "s,%s,$file,g")
  sh -c "$command" || { echo "failed: $command" >&2; status=1; }
done <"${TMPDIR:-/tmp}/runs.$$"
rm -f "${TMPDIR:-/tmp}/runs.$$"
exit $status
