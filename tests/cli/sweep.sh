#!/usr/bin/env bash
# sweep: which variants there are and what identifies them; one training step of each; kernels are shared.
own_store=1
. "$(dirname "$0")/common.sh"
tiny=(dhc_jamba --set hidden_dim=4 --set num_heads=2 --set num_experts=2 --set ffn_inner=8 --set d_state=4 --set tokens=grid --sizes B=2,H=16,W=16)
"$dhcc" sweep "${tiny[@]}" --set num_layers=4 --set mamba_ratio=0,3 --json > "$work/two.json" || fail "a grid of two"
python3 - "$work/two.json" <<'P' || fail "a grid of two"
import json, sys
d = json.load(open(sys.argv[1]))
a, b = d["variants"]
for v in a, b:
    for key in "name", "hash", "mixers", "kernels_compiled", "kernels_reused", "plan_ms", "first_step_ms":
        assert key in v, (key, v)
    assert len(v["hash"]) == 16 and 0 < v["plan_ms"] < v["first_step_ms"], v
    assert v["sequence_length"] == 16 and v["parameters"] > 0, v
assert (a["name"], a["mixers"], a["pattern"]) == ("mamba_ratio=0", "M0 A4", "AAAA"), a
assert (b["name"], b["mixers"], b["pattern"]) == ("mamba_ratio=3", "M3 A1", "MMMA"), b
assert a["kernels_compiled"] > 0 and a["hash"] != b["hash"] and d["merged"] == [] and d["exit_status"] == 0
P

# 64 orders of eight blocks whose kinds the store has: nothing is compiled, in a process that is new
orders=64
[ "${DHC_SANITIZED:-0}" = 1 ] && orders=8
"$dhcc" sweep "${tiny[@]}" --placements M1A1M1 --json > /dev/null 2>&1 && fail "a letter twice"
"$dhcc" sweep "${tiny[@]}" --set pattern=MMAA,AAMM --json > /dev/null || fail "all kinds"
"$dhcc" sweep "${tiny[@]}" --placements M4A4 --random $orders --seed 3 --json > "$work/many.json" || fail "$orders orders"
python3 - "$work/many.json" $orders <<'P' || fail "64 orders"
import json, sys
d = json.load(open(sys.argv[1]))
v = d["variants"]
n = int(sys.argv[2])
assert len(v) == n and len({x["hash"] for x in v}) == n and len({x["pattern"] for x in v}) == n
assert all(x["mixers"] == "M4 A4" and len(x["pattern"]) == 8 and x["name"] == x["order"] for x in v)
assert all(x["kernels_compiled"] == 0 and x["kernels_reused"] > 0 for x in v), [x["kernels_compiled"] for x in v]
assert d["kernels_compiled"] == 0
P

# every order of a pattern, mirror images too; only equal graphs are one
small=(mlp --set hidden=4 --sizes B=2)
names() { python3 -c 'import json,sys; d=json.load(sys.stdin); print(" ".join(x["name"] for x in d["variants"]), "|", " ".join(x["name"] + "=" + x["same_as"] for x in d["merged"]))'; }
got=$("$dhcc" sweep "${tiny[@]}" --backend interp --no-cache --placements M2A1 --json | names)
[ "$got" = "MMA MAM AMM | " ] || fail "orders of M2A1: $got"
got=$("$dhcc" sweep "${tiny[@]}" --set num_layers=4 --set ratio=3M:1A,1A:3M --set pattern=,MMMA --json 2>&1)
case $got in *"has an empty value"*) ;; *) fail "an empty value: $got" ;; esac
got=$("$dhcc" sweep "${tiny[@]}" --set num_layers=4 --set ratio=3M:1A,1A:3M,6M:2A --json | names)
[ "$got" = "ratio=3M:1A ratio=1A:3M ratio=6M:2A | " ] || fail "ratios: $got"
got=$("$dhcc" sweep "${tiny[@]}" --set num_layers=4 --set pattern=MMMA,M3A,MMMAMMMA --json | names)
[ "$got" = "pattern=MMMA | pattern=M3A=pattern=MMMA pattern=MMMAMMMA=pattern=MMMA" ] || fail "equal variants: $got"
expect 0 "equal to pattern=MMMA, not run again: pattern=M3A" "$dhcc" sweep "${tiny[@]}" --set num_layers=4 --set pattern=MMMA,M3A
expect 0 "M7 A1      MMMMMMMA       M7A                16" "$dhcc" sweep "${tiny[@]}" --set mamba_ratio=7,6

# six ratios at equal parameters: widths differ, and nothing is compiled after the first
even=(dhc_jamba --set hidden_dim=4 --set num_heads=2 --set num_experts=2 --set d_state=4 --set tokens=grid --sizes B=2,H=16,W=16)
"$dhcc" sweep "${even[@]}" --set ratio=7M:1A,1M,3M:1A,1M:1A,1M:3A,1A --hold params=30k --solve ffn_inner --slack 1% --json > "$work/even.json" || fail "equal parameters"
python3 - "$work/even.json" <<'P' || fail "equal parameters"
import json, sys
v = json.load(open(sys.argv[1]))["variants"]
assert [x["mixers"] for x in v] == ["M7 A1", "M8 A0", "M6 A2", "M4 A4", "M2 A6", "M0 A8"], v
assert all(abs(x["parameters"] - 30000) <= 300 for x in v), [x["parameters"] for x in v]
widths = [int(x["name"].split("ffn_inner=")[1]) for x in v]
assert len(set(widths)) > 2, widths
assert all(x["kernels_compiled"] == 0 for x in v[1:]), [x["kernels_compiled"] for x in v]
P
for what in active-params=26k flops-per-token=60k state-bytes=15k; do
  step=ffn_inner
  [ "${what%%=*}" = state-bytes ] && step=d_state
  "$dhcc" sweep "${even[@]}" --set num_layers=4 --set ratio=3M:1A,1M:1A --hold $what --solve $step --slack 20% --json > "$work/held.json" || fail "--hold $what: $(cat "$work/held.json")"
  grep -q "$step=" "$work/held.json" || fail "--hold $what: no $step in $(cat "$work/held.json")"
done
expect 1 "--hold params=10: variant ratio=7M:1A comes no nearer than" "$dhcc" sweep "${even[@]}" --set ratio=7M:1A,1M --hold params=10 --solve ffn_inner
expect 1 "comes no nearer than 19258 (ffn_inner=1," "$dhcc" sweep "${even[@]}" --hold params=10 --solve ffn_inner
got=$("$dhcc" sweep "${even[@]}" --hold params=1e99 --solve ffn_inner 2>&1)
[[ $got =~ ffn_inner=([0-9]+), && ${BASH_REMATCH[1]} -gt 1000 ]] || fail "the largest is not the nearest: $got"
expect 1 "off by" "$dhcc" sweep "${even[@]}" --set ratio=7M:1A,1M --hold params=30k --solve ffn_inner:1000
expect 1 "--solve ffn_iner:1:1: error[E0301]: DHCJamba has no hyperparameter 'ffn_iner'" "$dhcc" sweep "${even[@]}" --set ratio=7M:1A,1M --hold params=30k --solve ffn_iner
expect 2 "--hold and --solve need each other" "$dhcc" sweep "${even[@]}" --hold params=30k
expect 2 "--hold: needs params, active-params" "$dhcc" sweep "${even[@]}" --hold param=30k --solve ffn_inner
expect 2 "--hold: needs params, active-params" "$dhcc" sweep "${even[@]}" --hold params=-3 --solve ffn_inner
expect 2 "--solve: needs NAME or NAME:STEP" "$dhcc" sweep "${even[@]}" --hold params=30k --solve ffn_inner:x
expect 2 "--solve ffn_inner: --set ffn_inner=16,32 varies it" "$dhcc" sweep "${even[@]}" --set ffn_inner=16,32 --hold params=30k --solve ffn_inner
expect 2 "--slack: needs a percentage" "$dhcc" sweep "${even[@]}" --hold params=30k --solve ffn_inner --slack 1

# a recipe's settings are variants too, and compile nothing
got=$("$dhcc" sweep "${small[@]}" --opt lr=1e-3,3e-4 --json)
[ "$(echo "$got" | names)" = "lr=1e-3 lr=3e-4 | " ] || fail "--opt: $got"
got=$("$dhcc" sweep "${small[@]}" --opt lr=1e-3,3e-4 --opt weight_decay=0.1,0.01 --opt beta2=0.99 --opt clip=0,1 --json)
echo "$got" | python3 -c 'import json, sys
v = json.load(sys.stdin)["variants"]
assert len(v) == 8 and len({x["hash"] for x in v}) == 8, v
assert v[0]["name"] == "lr=1e-3,weight_decay=0.1,clip=0" and [x["kernels_compiled"] for x in v] == [0] * 8, v' || fail "optimiser settings: $got"
expect 1 "adam has no argument 'beta3'" "$dhcc" sweep "${small[@]}" --opt optimizer=adam --opt beta3=0.9,0.99
expect 1 "error[E0306]: adamw has no argument 'weight_decoy'" "$dhcc" sweep "${small[@]}" --opt weight_decoy=1,2
expect 1 "hint: did you mean 'weight_decay'?" "$dhcc" train mlp --print-recipe --set optimizer.weight_decoy=1
expect 0 "weight_decay       0.25" "$dhcc" train mlp --print-recipe --set optimizer.weight_decay=0.25
expect 0 "momentum           0.5" "$dhcc" train mlp --print-recipe --set optimizer.momentum=0.5 --set 'optimizer=sgd(momentum = 0.8)'
expect 1 "error[E0303]" "$dhcc" train mlp --print-recipe --set optimizer.weight_decay=true

# what a model file declares
cat > "$work/v.dhc" <<'M'
import std/nn
import layers/linear
model V(d: int in 1..64 = 4, deep: bool = false) {
  a = Linear(8, d)
  if deep { b = Linear(d, d) }
  c = Linear(d, 3)
  loss<B>(x: [B, 8], target: i64[B]) -> (loss: [], logits: [B, 3]) {
    y = relu(a(x))
    if deep { y = relu(b(y)) }
    logits = c(y)
    return cross_entropy(logits, target), logits
  }
}
variants width for V { narrow { d = 2 } wide { d = 8 } }
variants depth for V { shallow { deep = false } deep { deep = true } }
M
got=$("$dhcc" sweep "$work/v.dhc" --variants width,depth.deep --json | names)
[ "$got" = "width.narrow width.wide depth.deep | " ] || fail "--variants: $got"
got=$("$dhcc" sweep "$work/v.dhc" --variants width --set deep=true,false --json | names)
[ "$got" = "width.narrow,deep=true width.narrow,deep=false width.wide,deep=true width.wide,deep=false | " ] || fail "variants and a grid: $got"

# wrong input: one line, and what was measured stays
expect 2 "nothing to vary" "$dhcc" sweep mlp
expect 2 "--set hidden=: has an empty value" "$dhcc" sweep mlp --set hidden=
expect 2 "--set hidden=4,4: has hidden=4 twice" "$dhcc" sweep mlp --set hidden=4,4
expect 1 "V has no variants 'widht' (did you mean 'width'?)" "$dhcc" sweep "$work/v.dhc" --variants widht
expect 1 "the file declares no variants for MLP" "$dhcc" sweep mlp --variants width
expect 2 "--placements: needs letters" "$dhcc" sweep dhc_jamba --placements 6M
expect 1 "adamw has no argument 'lrr'" "$dhcc" sweep mlp --opt lrr=1,2 --sizes B=2
expect 1 'ratio "7:1" does not say which is which: 7M:1A or 7A:1M' "$dhcc" sweep dhc_jamba --set ratio=7:1,3M:1A
expect 1 "note: of variant ratio=7:1" "$dhcc" sweep dhc_jamba --set ratio=7:1,3M:1A
expect 2 "--sizes: entry 'loss' has no size 'Q'" "$dhcc" sweep mlp --set hidden=3,4 --sizes Q=3
"$dhcc" sweep "$work/v.dhc" --set d=3,4,65 --json > "$work/wrong.json" 2> /dev/null
[ $? = 1 ] || fail "a variant out of range"
got=$(names < "$work/wrong.json")
[ "$got" = "d=3 d=4 | " ] || fail "what came before a wrong variant: $got"

# what a variant took is given back
cat > "$work/grow.py" <<'P'
import resource, subprocess, sys
def peak(n):
    import os
    pid = os.fork()
    if not pid:
        rc = subprocess.run([sys.argv[1], "sweep", sys.argv[2], "--opt", "lr=" + ",".join("1e-%d" % i if i < 9 else "0.0%d" % i for i in range(1, n // 20 + 1)),
                             "--set", "d=" + ",".join(map(str, range(1, 21))), "--quiet"], stdout=subprocess.DEVNULL).returncode
        os._exit(200 if rc else 0)
    _, status, use = os.wait4(pid, 0)
    assert status == 0, status
    return use.ru_maxrss
few, many = peak(100), peak(1000)
print(few, many)
assert many < few + 2048, (few, many)  # KiB
P
python3 "$work/grow.py" "$dhcc" "$work/v.dhc" || fail "a thousand variants grow"
# what variants cost: equal ones are said to be, and a ratio that the depth cuts short is noted
costs() { "$dhcc" sweep dhc_jamba --set hidden_dim=4 --set num_heads=2 --set num_experts=2 --set d_state=4 --set num_layers=4 --set tokens=grid --set moe_frequency=0 --set "$1" --cost-only --sizes B=1,H=16,W=16 "${@:2}"; }
cost() { costs "ratio=$1" "${@:2}"; }
cost 3M:1A,6M:2A,12M:4A,1M:1A --set pattern=MMMA --json > "$work/equal.json" 2>&1 || fail "costs"
[ "$(names < "$work/equal.json")" = "ratio=3M:1A | ratio=6M:2A=ratio=3M:1A ratio=12M:4A=ratio=3M:1A ratio=1M:1A=ratio=3M:1A" ] || fail "equal costs: $(cat "$work/equal.json")"
cost 3M:1A,1M:1A --set pattern=MMMA > "$work/equal.txt" || fail "costs as a table"
hash=$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["variants"][0]["hash"])' "$work/equal.json")
[ "$(sed -n 2p "$work/equal.txt" | cut -c1-65)" = "$hash  M3 A1      MMMA           MMMA               16" ] || fail "a row of costs: $(cat "$work/equal.txt")"
one() { "$dhcc" "$1" "${@:2}" --set hidden_dim=4 --set num_heads=2 --set num_experts=2 --set d_state=4 --set num_layers=4 --set tokens=grid --set moe_frequency=0; }
for form in --json --csv; do one info dhc_jamba --set ratio=3M:1A $form | grep -q "$hash" || fail "info has another hash, $form"; done
one info dhc_jamba --set ratio=6M:2A --set pattern=MMMA | grep -q "^hash  *$hash$" || fail "info has another hash"
one explain --kernels dhc_jamba ratio=3M:1A ratio=3M:1A,lr=0.5 --json > "$work/pair.json" || fail "explain"
python3 -c 'import json, sys; d = json.load(open(sys.argv[1])); assert d["a"]["hash"] == sys.argv[2] != d["b"]["hash"], d["a"]' "$work/pair.json" "$hash" || fail "explain has other hashes"
[ "$(sed -n 3p "$work/equal.txt")" = "$hash  equal to ratio=3M:1A: ratio=1M:1A" ] || fail "an equal row: $(cat "$work/equal.txt")"
cost 3M:1A,1M:1A --set pattern=MMMA --csv | python3 -c 'import csv, json, sys
rows = list(csv.DictReader(sys.stdin))
v = json.load(open(sys.argv[1]))["variants"][0]
assert [r["same_as"] for r in rows] == ["", "ratio=3M:1A"] and rows[0]["hash"] == rows[1]["hash"], rows
assert rows[0]["sequence_length"] == "16" and rows[0]["pattern"] == "MMMA" and rows[0]["mixers"] == "M3 A1", rows
for k, x in v.items():
    if isinstance(x, (int, float)) and "shared" not in k: assert float(rows[0][k]) == x, (k, x, rows[0][k])' "$work/equal.json" || fail "costs as CSV"
cost 7M:1A,3M:1A,1M:0A,1M > "$work/out" 2> "$work/err" || fail "costs of ratios"
costs mamba_ratio=0,3 > "$work/out" 2>> "$work/err" || fail "costs of mamba_ratio"
[ "$(cat "$work/err")" = "dhcc: note: ratio=7M:1A: no MultiHeadAttention among the 4 mixers: pattern, ratio and depth leave kind A out" ] || fail "a ratio longer than the stack: $(cat "$work/err")"
cat > "$work/only.dhc" <<'M'
model Only(d: int = 2) {
  param w: [d] = zeros()
  loss<B>(x: [B, d]) -> (loss: []) { return sum(x * w) }
}
M
expect 1 "error[E0301]: Only has no entry 'forward'" "$dhcc" sweep "$work/only.dhc" --set d=2,3 --cost-only
expect 1 "of variant d=2" "$dhcc" sweep "$work/only.dhc" --set d=2,3 --cost-only
# an object of each variant; of another machine no times
"$dhcc" sweep "${tiny[@]}" --set num_layers=4 --set mamba_ratio=0,3 --build --json > "$work/objects.json" || fail "sweep --build"
"$dhcc" sweep "${tiny[@]}" --set num_layers=4 --set mamba_ratio=3 --build --target aarch64 --json > "$work/away.json" || fail "sweep --build --target"
python3 - "$work/objects.json" "$work/away.json" <<'P' || fail "sweep --build"
import json, sys
d, away = (json.load(open(f)) for f in sys.argv[1:])
assert len(d["variants"]) == 2, d
for v in d["variants"]:
    assert v["code_bytes"] > 1000 and v["workspace_bytes"] > 0 and v["stack_bytes"] > 0 and 0 < v["p50_ms"] <= v["p99_ms"], v
assert d["variants"][0]["weights_bytes"] != d["variants"][1]["weights_bytes"] and away["variants"][0]["p50_ms"] is None, away
P
expect 2 "sweep: --build takes --data and --out together: a sweep that --train has trained, and what its weights are measured on" "$dhcc" sweep "${tiny[@]}" \
  --set mamba_ratio=0,3 --build --out none
expect 2 "sweep: --build goes without --train and --cost-only" "$dhcc" sweep "${tiny[@]}" --set mamba_ratio=0,3 --build --cost-only
finish
