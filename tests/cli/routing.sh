#!/usr/bin/env bash
# The routing ledger: every choice is counted, by block and expert and by the mixer in front; showing it changes nothing.
own_store=1
. "$(dirname "$0")/common.sh"
cd "$work" || exit 1
data=synth:copy:length=20,n=64,n_test=40,vocab=32
model=(seq --set vocabulary=32 --set d_model=16 --set num_layers=4 --set pattern=MAMM --set num_heads=2 --set moe_frequency=1 --set num_experts=4)
"$dhcc" train "${model[@]}" --data $data --out run --steps 2 --quiet || fail "train"
eval_() { "$dhcc" eval "${model[@]}" --data $data --weights run/last.safetensors --batch 16 --json "$@" || fail "eval $*"; }
eval_ > plain.json
eval_ --routing > ledger.json
eval_ --routing --batch 7 > sevens.json
eval_ --routing --ablate layers.1.ffn=expert:3 > closed.json
python3 - <<'P' || fail "the ledger"
import json, math
plain, d, sevens, closed = (json.load(open(f + ".json")) for f in ("plain", "ledger", "sevens", "closed"))
assert "routing" not in plain and d["loss"] == plain["loss"] and d["accuracy"] == plain["accuracy"], (d["loss"], plain["loss"])
assert d["kernels_compiled"] <= 3, d["kernels_compiled"]
rows, groups = [r for r in d["routing"] if r["path"]], [r for r in d["routing"] if not r["path"]]
assert [r["path"] for r in rows] == ["jamba.layers.%d.ffn.tokens_per_expert" % i for i in range(4)]
assert [r["follows"] for r in rows] == ["Mamba", "MultiHeadAttention", "Mamba", "Mamba"]
assert [(g["follows"], g["blocks"]) for g in groups] == [("Mamba", 3), ("MultiHeadAttention", 1)]
for r in rows:
    t = r["tokens"]
    assert sum(t) == r["total"] == 40 * 20 * 2 and len(t) == 4, r
    p = [x / sum(t) for x in t if x]
    assert abs(r["entropy"] + sum(x * math.log(x) for x in p) / math.log(4)) < 1e-12, r
    assert abs(r["balance"] - sum(t) / 4 / max(t)) < 1e-12, r
assert all(abs(groups[0][k] - (rows[0][k] + rows[2][k] + rows[3][k]) / 3) < 1e-12 for k in ("entropy", "balance"))
assert [r["tokens"] for r in sevens["routing"] if r["path"]] == [r["tokens"] for r in rows]
t = closed["routing"][1]["tokens"]
assert t[3] == 0 and sum(t) == 1600 and closed["routing"][0] == d["routing"][0], t
P
"$dhcc" train "${model[@]}" --set moe_frequency=0 --data $data --out none --steps 1 --quiet || fail "train"
expect 1 'model SequenceModel taps no tokens_per_expert: it routes nothing' "$dhcc" eval "${model[@]}" --set moe_frequency=0 --data $data --weights none/last.safetensors --routing
finish
