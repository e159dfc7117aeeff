#!/usr/bin/env bash
# explain: one table for the codes of every part. Each code in the source has a row, each row's
# example gives its code, and every code that a user can meet stands in some test.
. "$(dirname "$0")/common.sh"
source=$(cd "$(dirname "$0")/../.." && pwd)
"$dhcc" explain > "$work/list" || fail "explain without a code"
cut -d' ' -f1 "$work/list" > "$work/codes"
grep -rhoE --include='*.[chly]' '"E0[0-9]{3}"' "$source"/{ir,frontend,passes,backends,runtime,api,cli} | tr -d '"' | sort -u > "$work/used"
[ "$(wc -l < "$work/used")" -gt 60 ] || fail "the source has only $(wc -l < "$work/used") codes"
diff "$work/codes" "$work/used" >&2 || fail "codes listed (<) and used (>) differ"
grep -rhoE --include='*.sh' --include='*.c' --include='*.out' --include='*.err' --include='*.gir' 'E0[0-9]{3}' "$source/tests" |
  sort -u > "$work/tested"
"$dhcc" explain --json > "$work/table" || fail "explain --json"
python3 - "$dhcc" "$work" <<'P' || fail "the table"
import json, os, subprocess, sys
dhcc, work = sys.argv[1:]
table = json.load(open(work + "/table"))["codes"]
tested = open(work + "/tested").read().split()
# Only a broken graph, or dhcc at fault, gets there.
inside = "E0711 E0720 E0723 E0801 E0920".split()
assert [e["code"] for e in table] == open(work + "/codes").read().split()
bad = 0
for e in table:
    code, example = e["code"], work + "/example.dhc"
    assert e["title"] and len(e["text"]) > 20 and e["example"], e
    if not e["example_command"]:  # said in words: then another test meets it
        if code not in tested and code not in inside:
            print(code, "stands in no test")
            bad = 1
        continue
    if e["example_command"].startswith("dhcc kernel") and "cpu" not in os.environ.get("BACKENDS", "cpu"):
        continue  # a build without kernels
    open(example, "w").write(e["example"])
    command, *args = [example if w == "FILE" else w for w in e["example_command"].split()]
    assert command == "dhcc", e
    said = subprocess.run([dhcc, *args], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if "[%s]" % code not in said.stderr:
        print("the example of", code, "says:", said.stderr, said.stdout)
        bad = 1
sys.exit(bad)
P
expect 1 'no error code E0309x (did you mean E0309?)' "$dhcc" explain E0309x
expect 1 'dhcc explain lists them' "$dhcc" explain nonsense
expect 0 'dhcc check FILE' "$dhcc" explain E0308
finish
