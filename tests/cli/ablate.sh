#!/usr/bin/env bash
# Parts left out: the same bits as the model elaborated without them, and no kernel compiled.
own_store=1
. "$(dirname "$0")/common.sh"
dhcc=$(realpath "$dhcc")
cd "$work" || exit 1
cat > t.dhc <<'M'
import std/nn
import std/optim
import layers/embedding
import layers/jamba

# Block i is left out where i is `skip`; the mixer of all attention blocks where `plain`.
model T(skip: int = -1, plain: bool = false) {
  embedding = Embedding(11, 16)
  for i in 0..4 {
    if i != skip {
      layers[i] = JambaBlock(16, mixer = MultiHeadAttention(num_heads = 2, causal = true) if i % 2 == 1 else Mamba(d_state = 4),
                             ffn = MoE(num_experts = 4, top_k = 2, d_ff = 24) if i != 2 else SwiGLU(d_ff = 24), routed = i != 2, dropout = 0.0)
    }
  }
  norm_f = RMSNorm(16)
  forward<B, L>(tokens: i64[B, L]) -> (logits: [B, L, 11]) {
    x = embedding(tokens)
    for i in 0..4 { if i != skip { x = layers[i](x) } }
    return embedding.scores(norm_f(x))
  }
  loss<B, L>(tokens: i64[B, L], target: i64[B, L]) -> (loss: [], logits: [B, L, 11]) {
    logits = forward(tokens)
    loss = cross_entropy(logits, target, ignore_index = -100)
    loss = plus_weighted(loss, taps("*.load_balance"), 0.5)
    return plus_weighted(loss, taps("*.router_z"), 0.25), logits
  }
  metric accuracy<B, L>(logits: [B, L, 11], target: i64[B, L]) -> (accuracy: []) {
    return mean(float(argmax(logits, axis = -1) == target))
  }
}
recipe default for T { optimizer = adamw()  batch = 8  epochs = 1 }
M
python3 - <<'P'
import os, struct
def npy(name, shape, values):
    head = "{'descr': '<i8', 'fortran_order': False, 'shape': %s, }" % (shape,)
    open(name, "wb").write(b"\x93NUMPY\x01\x00" + struct.pack("<H", 118) + head.ljust(117).encode() + b"\n" + struct.pack("<%dq" % len(values), *values))
for where, n in (("data/train", 40), ("data/test", 16), (".", 3)):
    os.makedirs(where, exist_ok=True)
    values = [(7 * i * i + 3 * i + n) % 11 for i in range(9 * n)]
    npy(where + "/tokens.npy", (n, 9), values)
    npy(where + "/target.npy", (n, 9), values[1:] + values[:1])
head = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 9), }"
open("x.npy", "wb").write(b"\x93NUMPY\x01\x00" + struct.pack("<H", 118) + head.ljust(117).encode() + b"\n" + bytes(72))
P
"$dhcc" train t.dhc --data npy:data --out run --steps 5 --quiet || fail "train"
w=run/last.safetensors
# bits OUT options...: every result of entry loss
bits() { "$dhcc" run t.dhc --weights $w --entry loss --inputs tokens=tokens.npy --inputs target=target.npy --quiet --json "${@:2}" -o "$1.safetensors" > "$1.json" || fail "run ${*:2}"; }
bits whole
for i in 0 1 2 3; do
  bits "out$i" --ablate layers.$i
  bits "skip$i" --set skip=$i
  cmp "out$i.safetensors" "skip$i.safetensors" || fail "without layers.$i: other bits than the model elaborated without it"
  cmp -s "out$i.safetensors" whole.safetensors && fail "without layers.$i: nothing changed"
  [ "$(number kernels_compiled < "out$i.json")" = 0 ] || fail "without layers.$i: something was compiled"
done
# a stream without a block is the whole without it, piece by piece; what the block keeps has no part in it
python3 - <<'P'
import struct
raw = open("tokens.npy", "rb").read()
v = struct.unpack("<27q", raw[128:])
for name, lo, hi in (("a", 0, 5), ("b", 5, 9)):
    part = [v[9 * r + i] for r in range(3) for i in range(lo, hi)]
    head = "{'descr': '<i8', 'fortran_order': False, 'shape': (3, %d), }" % (hi - lo)
    open(name + ".npy", "wb").write(b"\x93NUMPY\x01\x00" + struct.pack("<H", 118) + head.ljust(117).encode() + b"\n" + struct.pack("<%dq" % len(part), *part))
P
"$dhcc" run t.dhc --weights $w --inputs tokens=tokens.npy --ablate layers.1 --quiet -o forward.safetensors || fail "forward"
for x in a b; do
  "$dhcc" run t.dhc --weights $w --entry stream --state s.safetensors --inputs tokens=$x.npy --ablate layers.1 --quiet -o $x.safetensors || fail "piece $x"
done
python3 - <<'P' || fail "a stream without a block is not the whole without it"
import json, struct
def read(path):
    b = open(path, "rb").read()
    n = struct.unpack("<Q", b[:8])[0]
    t = json.loads(b[8:8 + n])["logits"]
    x = b[8 + n + t["data_offsets"][0]:8 + n + t["data_offsets"][1]]
    each = len(x) // 3
    return [x[i * each:(i + 1) * each] for i in range(3)]
whole, a, b = read("forward.safetensors"), read("a.safetensors"), read("b.safetensors")
assert whole == [x + y for x, y in zip(a, b)]
P
bits both --ablate layers.1 --ablate layers.2
bits either --ablate layers.2 --ablate layers.1
cmp both.safetensors either.safetensors || fail "the order of parts matters"
bits kind --ablate attention
bits path --ablate layers.1.main_layer --ablate layers.3.main_layer
cmp kind.safetensors path.safetensors || fail "a kind is not its units"
bits closed --ablate moe=expert:2
cmp -s closed.safetensors whole.safetensors && fail "an expert was closed, and nothing changed"
bits again
cmp again.safetensors whole.safetensors || fail "what was left out stayed out"
for x in out1 closed; do [ "$(number kernels_compiled < $x.json)" = 0 ] || fail "$x: something was compiled"; done
# the reference says the same
"$dhcc" run t.dhc --backend interp --weights $w --inputs tokens=tokens.npy --ablate layers.0 --quiet -o ref.safetensors || fail "interp"
"$dhcc" run t.dhc --backend interp --weights $w --inputs tokens=tokens.npy --set skip=0 --quiet -o want.safetensors || fail "interp"
cmp ref.safetensors want.safetensors || fail "interp: other bits without layers.0"

# all of them: the table's numbers are eval's
ablate=("$dhcc" ablate t.dhc --weights $w --data npy:data --split test)
"${ablate[@]}" --json --experts > all.json || fail "ablate"
"${ablate[@]}" --csv --quiet > all.csv || fail "ablate --csv"
one=$("$dhcc" eval t.dhc --weights $w --data npy:data --split test --ablate layers.3 --json | number loss)
python3 - "$one" <<'P' || fail "the table"
import csv, json, sys
d = json.load(open("all.json"))
rows = {(r["scope"], r["name"]): r for r in d["parts"]}
assert d["kernels_compiled"] == 0, d["kernels_compiled"]
assert len([r for r in d["parts"] if r["scope"] == "block"]) == 4 and len([r for r in d["parts"] if r["scope"] == "unit"]) == 8
assert len([r for r in d["parts"] if r["scope"] == "expert"]) == 12 and ("kind", "Mamba") in rows and rows["kind", "MoE"]["units"] == 3
assert rows["block", "layers.3"]["loss"] == float(sys.argv[1]) != rows["whole", ""]["loss"]
for r in d["parts"]: assert abs(r["loss_change"] - (r["loss"] - rows["whole", ""]["loss"])) <= 1e-12, r
for r in csv.DictReader(open("all.csv")):
    for k in ("loss", "accuracy", "loss_change"): assert abs(float(r[k]) - rows[r["scope"], r["name"]][k]) <= 1e-12, r
P
run=("$dhcc" run t.dhc --weights $w --inputs tokens=tokens.npy --quiet)
expect 1 "--ablate layers.7: entry 'forward' has no such unit (did you mean 'layers.0'?); units are layers.0.main_layer to layers.3.ffn" "${run[@]}" --ablate layers.7
expect 1 "did you mean 'layers.3.ffn'?" "${run[@]}" --ablate layers.3.fnf
expect 1 "--ablate layers.1.main_layer.q_proj: it is a part of 'layers.1.main_layer', which is left out as a whole" "${run[@]}" --ablate layers.1.main_layer.q_proj
expect 1 "--ablate moe=expert:4: 'layers.0.ffn' has experts 0 to 3" "${run[@]}" --ablate moe=expert:4
expect 1 "--ablate moe=expert:0: 'layers.0.ffn' would have no expert left" "${run[@]}" --ablate layers.3=expert:0 --ablate moe=expert:1 --ablate moe=expert:2 --ablate moe=expert:3 --ablate moe=expert:0
expect 1 '--ablate attention=expert:1: the model has no such layer of experts' "${run[@]}" --ablate attention=expert:1
expect 2 'needs PATH, KIND or LAYER=expert:NUMBER' "${run[@]}" --ablate moe=expert:two
expect 2 '--ablate: only runs leave units out, not gradients or training' "$dhcc" run t.dhc --weights $w --grad --inputs tokens=tokens.npy --inputs target=target.npy --ablate layers.1
expect 2 'ablate: needs --data SPEC' "$dhcc" ablate t.dhc --weights $w
expect 1 "--ablate layers.0: entry 'forward' has no unit that gives what it takes" "$dhcc" run layers/norm --root RMSNorm --set d=9 --inputs x=x.npy --ablate layers.0
finish
