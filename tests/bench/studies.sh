#!/usr/bin/env bash
# The studies at their quick size: every part gives its rows, what is kept is not measured again, the section of
# RESULTS.md is put where it belongs, and what is not there is said.
. "$(dirname "$0")/../cli/common.sh"
root=$(cd "$(dirname "$0")/../.." && pwd)
build=$2
export PYTHONDONTWRITEBYTECODE=1
cd "$work" || exit 1
study() {
  local name=$1
  shift
  python3 "$root/bench/studies/$name" --size quick --build "$build" --threads 1 --seconds 0.01 -o "$work/$name" "$@"
}

study scaling > scaling.md 2> err || fail "scaling: $(cat err)"
[ "$(grep -cE '^\| (Mamba|attention|both) \|.* \|$' scaling.md)" = 12 ] || fail "rows of scaling: $(cat scaling.md)"
grep -q "Not measured" scaling.md && fail "scaling leaves rows out: $(cat scaling.md)"
before=$(cat scaling/quick/rows.json)
study scaling > again.md 2> err || fail "scaling again"
[ -s err ] && fail "scaling measures again what is kept: $(cat err)"
[ "$before" = "$(cat scaling/quick/rows.json)" ] || fail "kept rows have changed"
python3 - scaling/quick/rows.json <<'P' || fail "rows.json of scaling"
import json, sys
rows = json.load(open(sys.argv[1]))
assert len(rows) == 12, sorted(rows)
for key, r in rows.items():
    assert 0 < r["least"] <= r["low"] <= r["median"] <= r["high"] and r["cpu"] > 0 and r["memory"]["planned"] > 0, (key, r)
    del rows[key]
    break
json.dump(rows, open(sys.argv[1], "w"))
P
study scaling --report > report.md 2> err || fail "a report"
grep -q "^Not measured yet: forward Mamba 16\.$" report.md || fail "a missing row is not said: $(cat report.md)"

study recall > recall.md 2> err || fail "recall: $(cat err)"
[ "$(grep -cE '^\| pattern=[MA] \| .* \| 2 \| ' recall.md)" = 4 ] || fail "rows of recall: $(cat recall.md)"
grep -q '^    dhcc sweep seq .* --train .* --out OUT/mqar-16$' recall.md || fail "the command of recall: $(cat recall.md)"
sed -i '0,/"done"/s//"left"/' recall/quick/mqar-16/sweep.json
study recall --report > report.md 2> err || fail "a report of recall"
grep -q "Not measured yet: .*: 1 of 4 runs" report.md || fail "an unfinished sweep is not said: $(cat report.md)"

study expectations --only parameters,policies,equal > expectations.md 2> err || fail "expectations: $(cat err)"
grep -q '^| medium | 2.0 M | 32.06 M | 13.18 M | 16.0× | M7 A1 |$' expectations.md || fail "parameters: $(cat expectations.md)"
grep -q "^- Sizes are wrong: .* 2.54, 32.1 and 342 million parameters, not 0.8, 2.0 and 8.5" expectations.md || fail "what it says in words: $(cat expectations.md)"
grep -q "^| RL policy on the linear recurrence | 150 K | 149 K | 3 | \*\*[0-9]" expectations.md || fail "policies: $(cat expectations.md)"
grep -q "^| width 16, pure transformer | A8 | 17 | 0.020 M .* | \*\*[0-9].* | \*\*[0-9]" expectations.md || fail "equal parameters: $(cat expectations.md)"

study rl --only policies,parts > rl.md 2> err || fail "rl: $(cat err)"
[ "$(grep -cE '^\| pendulum, 64 \| (linear SSM|Jamba) \| -[0-9.]+ ± [0-9.]+ \(' rl.md)" = 2 ] || fail "policies: $(cat rl.md)"
[ "$(grep -cE '^\| (Mamba|attention) only \| -' rl.md)" = 2 ] || fail "parts of a policy: $(cat rl.md)"
study rl --only policies,parts > again.md 2> err && [ ! -s err ] || fail "rl trains again what is kept: $(cat err)"

# Sections of a file: put at its end, replaced where they are, nothing else touched.
python3 - "$root" <<'P' || fail "sections of RESULTS.md"
import sys
sys.path.insert(0, sys.argv[1] + "/bench/studies")
sys.argv = ["x"]
import study
with open("R.md", "w") as f: f.write("# Results\n\ntext\n")
study.write_section("R.md", "a", "## A\n")
study.write_section("R.md", "b", "## B\n")
study.write_section("R.md", "a", "## A2\n")
want = "# Results\n\ntext\n\n<!-- studies/a -->\n## A2\n<!-- end of studies/a -->\n\n<!-- studies/b -->\n## B\n<!-- end of studies/b -->\n"
assert open("R.md").read() == want, open("R.md").read()
P
finish
