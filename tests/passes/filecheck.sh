#!/bin/sh
# filecheck.sh OPT FILE.gir: runs the RUN lines of FILE with dhc-opt and FileCheck.
# A line "RUN: not …" wants exit status 1. $FILECHECK names another FileCheck; without any the test is
# skipped (77), by name. A file without a RUN or a CHECK line fails: nothing would be tested.
set -u
opt=$1 file=$2 status=0
command -v "${FILECHECK:-FileCheck-19}" >/dev/null 2>&1 || { echo "skipped: no FileCheck (llvm-19-tools)"; exit 77; }
sed -n 's,^// RUN: ,,p' "$file" >"${TMPDIR:-/tmp}/runs.$$"
[ -s "${TMPDIR:-/tmp}/runs.$$" ] && grep -q CHECK "$file" || { echo "no RUN or no CHECK line: $file" >&2; status=1; }
while IFS= read -r line; do
  command=$(printf '%s' "$line" |
    sed -e "s,dhc-opt,$opt,g" -e "s,FileCheck-19,${FILECHECK:-FileCheck-19},g" -e "s,%s,$file,g")
  sh -c "$command" || { echo "failed: $command" >&2; status=1; }
done <"${TMPDIR:-/tmp}/runs.$$"
rm -f "${TMPDIR:-/tmp}/runs.$$"
exit $status
