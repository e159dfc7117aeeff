#!/usr/bin/env bash
# info: exact parameter counts, one JSON document on stdout.
own_store=1
. "$(dirname "$0")/common.sh"
n=$("$dhcc" info dhc_ssm --json | number parameters)
[ "$n" = 507402 ] || fail "dhc_ssm has $n parameters, want 507402"
"$dhcc" info dhc_ssm --json --sizes B=16,H=32,W=32 > "$work/info.json" || fail "info with sizes"
python3 - "$work/info.json" <<'P' || fail "entry figures"
import json, sys
e = json.load(open(sys.argv[1]))["entry"]
assert e["flops"] > 1e9 and e["kernels"] > 0, e
assert e["planned_bytes"] > e["workspace_bytes"] > 0, e
P
# From the plan alone: nothing is compiled, no weights are there; active: 2 of 16 experts of 6 blocks.
"$dhcc" info dhc_jamba --preset large --json --sizes B=1,H=32,W=32 > "$work/large.json" || fail "info of the large preset"
"$dhcc" info dhc_jamba --preset large --sizes B=1,H=32,W=32 --csv > "$work/large.csv" || fail "info as CSV"
"$dhcc" info seq --json --sizes B=2,L=64 > "$work/seq.json" || fail "info of seq"
DHC_SANITIZED=${DHC_SANITIZED:-} python3 - "$work" "$dhcc" <<'P' || fail "costs"
import csv, json, os, resource, subprocess, sys
work, dhcc = sys.argv[1:]
d = json.load(open(work + "/large.json"))
c = d["costs"]
assert d["kernels_compiled"] == 0 and c["planned_bytes"] > 1e9, c
assert c["active_parameters"] == 342229514 - 6 * 16 * (2 * 2048 * 512 + 512 * 2048) * 14 // 16, c
assert c["flops_train"] > 2 * c["flops"] > 2 * 2 * 70e6, c
rows = list(csv.DictReader(open(work + "/large.csv")))
assert len(rows) == 1 and all(float(rows[0][k]) == v for k, v in c.items() if "shared" not in k), rows
assert all(k in c or rows[0][k] == "" for k in rows[0] if k not in ("model", "hash", "entry", "sizes")), rows
c = json.load(open(work + "/seq.json"))
ops = {o["op"]: o for o in c["ops"]}
assert sum(o["flops"] for o in c["ops"]) == c["costs"]["flops"] and ops["dot_general"]["flops"] > 0 and ops["transpose"]["flops"] == 0
per_token, state = 2 * 2 * 128 * 4, 2 * 3 * (256 * 16 + 3 * 256) * 4   # one attention, three Mamba, two examples
assert c["costs"]["cache_bytes_token"] == per_token and c["costs"]["state_bytes"] == state, c["costs"]
assert c["costs"]["cross_length"] == -(-state // per_token) and c["costs"]["cache_max_bytes"] == 4096 * per_token
assert [r for r in c["lengths"] if r["length"] == 16] == [{"length": 16, "cache_bytes": 16 * per_token, "state_bytes": state}]
if not os.environ["DHC_SANITIZED"]:
    subprocess.run([dhcc, "info", "dhc_jamba", "--preset", "large", "--sizes", "B=1,H=32,W=32", "--quiet"], check=True, stdout=subprocess.DEVNULL)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert used.ru_maxrss < 200000, used.ru_maxrss
P
# what attention would keep of a sequence does not depend on how many tokens the model gives it now
for tokens in pooled grid; do
  "$dhcc" info dhc_jamba --set tokens=$tokens --sizes B=2,H=32,W=32 --json > "$work/one.json" || fail "info"
  python3 -c 'import json, sys
c = json.load(open(sys.argv[1]))["costs"]
sys.exit(not (c["cache_bytes_token"] == 2 * 2 * 256 * 4 and c["cross_length"] == 133 and "cache_max_bytes" not in c))' "$work/one.json" || fail "caches of dhc_jamba, tokens=$tokens"
done
expect 0 'cross_length                57 tokens' "$dhcc" info rl_value --set obs=17 --sizes B=3
# a sweep's costs are the variants' own
"$dhcc" sweep seq --set mamba_ratio=0,3 --set d_state=4 --cost-only --sizes B=2,L=64 --json > "$work/sweep.json" || fail "sweep --cost-only"
"$dhcc" sweep seq --set mamba_ratio=0,3 --set d_state=4 --cost-only --sizes B=2,L=64 --csv > "$work/sweep.csv" || fail "sweep --cost-only --csv"
"$dhcc" info seq --set mamba_ratio=3 --set d_state=4 --sizes B=2,L=64 --json > "$work/one.json" || fail "info"
python3 - "$work" <<'P' || fail "costs of a sweep"
import csv, json, sys
d, one = (json.load(open(sys.argv[1] + "/" + f)) for f in ("sweep.json", "one.json"))
rows = {v["name"]: v for v in d["variants"]}
assert d["kernels_compiled"] == 0 and list(rows) == ["mamba_ratio=0", "mamba_ratio=3"], list(rows)
v = rows["mamba_ratio=3"]
assert all(v[k] == x for k, x in one["costs"].items() if "shared" not in k) and v["mixers"] == "M3 A1", v
assert v["kernels_shared"] > 10 > rows["mamba_ratio=0"]["kernels_shared"] == 0, v
for r in csv.DictReader(open(sys.argv[1] + "/sweep.csv")):
    assert all(float(r[k]) == x for k, x in rows[r["name"]].items() if isinstance(x, (int, float))), r
P
cat > "$work/least.dhc" <<'M'
model Least() {
  forward<B>(x: [B]) -> (y: [B]) {
    require B >= 4, "at least four"
    return x + 1.0
  }
}
M
expect 1 "least.dhc:3:5: error[E0305]: entry 'forward': at least four" "$dhcc" info "$work/least.dhc" --sizes B=3
expect 1 "note: the inputs have B = 3" "$dhcc" info "$work/least.dhc" --sizes B=3
expect 0 '(all)' "$dhcc" info mlp
expect 0 'B = 2, H = 32 (assumed), W = 32 (assumed)' "$dhcc" info dhc_ssm --sizes B=2
expect 0 'note: sizes not given are assumed: --sizes H=32,W=32' "$dhcc" info dhc_ssm --sizes B=2
expect 0 'H//2 >= 4' "$dhcc" info dhc_ssm --sizes B=2,H=16,W=16
expect 0 'M7 A1' "$dhcc" info dhc_jamba
expect 0 'note: tokens = pooled gives the mixers a single token' "$dhcc" info dhc_jamba
expect 0 'note: no ' "$dhcc" info dhc_jamba --set num_layers=4
"$dhcc" print mlp --stage=spec --entry forward | awk 'BEGIN { RS = "" } NR == 1' > "$work/k.spec"
expect 2 'arguments, got 1; in order: extent of a0' "$dhcc" kernel "$work/k.spec" --dims 1
expect 1 "has no preset 'nothing_like_it'" "$dhcc" check dhc_ssm --preset nothing_like_it
finish
