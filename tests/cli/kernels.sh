#!/usr/bin/env bash
# Why variants share kernels or not: between two of them, between their plans, and against the store.
own_store=1
. "$(dirname "$0")/common.sh"
model=(dhc_jamba --preset small --set mamba_ratio=1 --set tokens=grid)
explain() { "$dhcc" explain --kernels "${model[@]}" --json "$@" > "$work/k.json" || fail "explain --kernels $*"; }
# holds PYTHON-EXPRESSION over d, the document, and rows: its lines as text
holds() {
  python3 -c 'import json, sys
d = json.load(open(sys.argv[1]))
rows = [" ".join((r["only"], r["kind"], r["layer"].split(".")[-1], r["why"])) for r in d["differ"]]
if not eval(sys.argv[2]): sys.exit(str((sys.argv[2], d)))' "$work/k.json" "$1" || fail "$1"
}
explain . .
holds 'd["shared"] == d["a"]["kernels"] == d["b"]["kernels"] > 40 and not rows and d["kernels_compiled"] == 0'
explain d_state=16 d_state=8
holds 'len(rows) == 3 and all(r.startswith("each scan") and r.endswith("extent of d_state differs: 16 / 8, unrolled by the recurrence") for r in rows)'
explain . hidden_dim=48
holds 'len(rows) == 3 and all(r.startswith("each chain") and "extent of the head size, 4 hidden_dim / num_heads, differs: 32 / 48, unrolled by the chain of contractions" in r for r in rows)'
explain . hidden_dim=48,num_heads=6
holds 'not rows and d["shared"] == d["b"]["kernels"]'
explain . moe_frequency=0
holds 'all(r.startswith("a ") for r in rows) and d["shared"] == d["b"]["kernels"]'
explain moe_frequency=0 .
holds 'any("the other has no ragged kernel" in r for r in rows) and all(r.startswith("b ") for r in rows)'
explain num_experts=4 num_experts=8
holds 'rows == ["each row 1 constant num_experts differs: 4 / 8"]'
explain d_conv=4 d_conv=3
holds '"each conv_dw 2 extent of d_conv differs: 4 / 3, unrolled by the convolution" in rows and any(r.startswith("a map") and "1 fma" in r for r in rows)'
expect 0 'in both: 35' "$dhcc" explain --kernels dhc_ssm small gray
expect 0 'in both' "$dhcc" explain --kernels dhc_ssm w16 width.w24
expect 1 "has no variant 'w17'" "$dhcc" explain --kernels dhc_ssm w16 w17
expect 1 "did you mean 'd_state'" "$dhcc" explain --kernels dhc_jamba . d_stat=3
expect 2 'needs MODEL A B' "$dhcc" explain --kernels dhc_jamba .
expect 2 'one code, or --kernels' "$dhcc" explain E0301 a b

"$dhcc" print dhc_jamba --preset small --stage=plan --diff . moe_frequency=0 > "$work/plan" || fail "print --diff"
grep -q '^- k[0-9]* ragged of jamba_model.layers.1: the other has no ragged kernel$' "$work/plan" || fail "the plan's kernels"
grep -q '^- call k[0-9]* ragged  # jamba_model.layers.3$' "$work/plan" && grep -q '^  [0-9]* items alike$' "$work/plan" || fail "the plan's items"
"$dhcc" print dhc_jamba --preset small --stage=train.plan --diff . hidden_dim=16 > "$work/plan" || fail "print --diff"
grep -q '^[-+]' "$work/plan" && fail "one plan, two widths: $(grep '^[-+]' "$work/plan" | head -3)"
expect 2 '--diff: needs --stage=plan' "$dhcc" print dhc_ssm --stage=graph --diff . .
expect 2 'print --diff: needs MODEL A B' "$dhcc" print dhc_ssm --diff .
expect 2 'too many arguments' "$dhcc" print dhc_ssm .

# what is compiled, and what is new about it; the whole store is looked at, other processes' kernels too
compile() { "$dhcc" info "${model[@]}" --sizes B=1,H=8,W=8 --compile "$@" 2> "$work/notes" > "$work/info" || fail "info --compile $*"; }
compile
[ -s "$work/notes" ] && fail "notes that nobody asked for"
compile --explain-compiles
[ -s "$work/notes" ] && fail "nothing was compiled: $(cat "$work/notes")"
compile --explain-compiles --set d_state=8
grep -q 'note: compiled: scan of jamba_model.layers.0: extent of d_state differs: 16 / 8, unrolled by the recurrence' "$work/notes" || fail "$(cat "$work/notes")"
[ "$(wc -l < "$work/notes")" = 1 ] || fail "more than one note"
for line in '8 .*(d_state)' '32 .*(the head size)' '4 .*(experts)' '2 .*(experts a token goes to)' '4 .*(d_conv)'; do
  grep -q "^  $line" "$work/info" || fail "info does not name what is unrolled: $line"
done
finish
