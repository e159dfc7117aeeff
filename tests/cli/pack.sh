#!/usr/bin/env bash
# The folder of a run is a model: commands take texts, settings, weights and data from it. pack: the same in one file.
. "$(dirname "$0")/common.sh"
here=$(cd "$(dirname "$0")" && pwd)
python3 "$here/data.py" "$work/data" 64
cd "$work" || exit 1
mkdir -p own/parts elsewhere
cat > own/parts/head.dhc <<'M'
import layers/linear
layer Head(d: int, n: int) {
  out = Linear(d, n)
  forward<B>(x: [B, d]) -> (y: [B, n]) { return out(x) }
}
M
cat > own/m.dhc <<'M'
import std/nn
import layers/linear
import "parts/head.dhc"
model Own(hidden: int in 1..64 = 4, classes: int = 10) {
  body = Linear(64, hidden)
  head = Head(hidden, classes)
  forward<B>(image: [B, 1, 8, 8]) -> (logits: [B, classes]) { return head(relu(body(reshape(image, [B, 64])))) }
  loss<B>(image: [B, 1, 8, 8], target: i64[B]) -> (loss: [], logits: [B, classes]) {
    logits = forward(image)
    return cross_entropy(logits, target), logits
  }
  normalize<B>(pixels: u8[B, 1, 8, 8]) -> (image: [B, 1, 8, 8]) { return float(pixels) * (1.0 / 255.0) }
}
preset wide for Own { hidden = 16 }
M
"$dhcc" train own/m.dhc --preset wide --set classes=10 --data npy:data --batch 16 --epochs 1 --threads 1 --quiet --out runs/a || fail "train"
"$dhcc" eval own/m.dhc --preset wide --data npy:data --weights runs/a/best.safetensors --split train --json > want.json || fail "eval by hand"
mv own gone # nothing but the folder is there
loss() { python3 -c 'import json, sys; d = json.load(open(sys.argv[1])); print(d["loss"], d["n_examples"])' "$1"; }
for model in runs/a runs/a/; do
  "$dhcc" eval $model --split train --json > got.json || fail "eval $model: $(cat got.json)"
  [ "$(loss got.json)" = "$(loss want.json)" ] || fail "eval $model: $(loss got.json), by hand $(loss want.json)"
done
expect 0 "parameters             1,210" "$dhcc" info runs/a
expect 0 "parameters             4,225" "$dhcc" info runs/a --set hidden=64 --set classes=1
expect 1 "runs/a/model.dhcm: has its own preset wide: --preset narrow is for the model file it was made from" "$dhcc" info runs/a --preset narrow
expect 1 "runs/a/model.dhcm: has its own root, none: --root Head is for" "$dhcc" info runs/a --root Head
expect 1 "tensor 'body" "$dhcc" eval runs/a --set hidden=8
expect 1 "runs/a/model.dhcm/m.dhc" "$dhcc" info runs/a --set hidden=65

# a package: one file, from anywhere, by itself
expect 2 "needs -o FILE.dhcm" "$dhcc" pack runs/a
expect 2 "pack: a package is called NAME.dhcm, got \"m.zip\"" "$dhcc" pack runs/a -o m.zip
expect 2 "pack: needs -o FILE.dhcm and, of a MODEL that is no run, --weights FILE" "$dhcc" pack mlp -o m.dhcm
expect 0 "m.dhcm: Own, 1210 parameters" "$dhcc" pack runs/a -o m.dhcm
"$dhcc" pack runs/a -o again.dhcm --quiet && cmp m.dhcm again.dhcm || fail "two packages of one run differ"
mv m.dhcm elsewhere && mv data elsewhere && mv runs hidden && cd elsewhere || exit 1
"$dhcc" eval m.dhcm --data npy:data --split train --json > got.json || fail "eval of a package: $(cat got.json)"
[ "$(loss got.json)" = "$(loss ../want.json)" ] || fail "a package evaluates to $(loss got.json)"
DHC_MODEL_PATH=$work "$dhcc" check m.dhcm || fail "a package without the shipped models"
"$dhcc" build m.dhcm -o m.o --header m.h --quiet 2> err || grep -q "no machine code\|object" err || fail "build of a package: $(cat err)"
"$dhcc" pack m.dhcm -o n.dhcm --quiet && cmp m.dhcm n.dhcm || fail "a package of a package differs"
cd "$work" && mv hidden runs && mv elsewhere/data . || exit 1

# --resume needs nothing but the folder
"$dhcc" train runs/a --batch 16 --epochs 2 --threads 1 --quiet --resume || fail "resume from the folder alone"
[ "$(tail -1 runs/a/metrics.csv | cut -d, -f2)" = 2 ] || fail "resume: $(tail -1 runs/a/metrics.csv)"

# packages that are none
python3 - <<'P'
import json, struct
def write(name, meta):
    head = json.dumps({"__metadata__": meta}).encode()
    head += b" " * (-len(head) % 8)
    open(name, "wb").write(struct.pack("<Q", len(head)) + head)
write("none.dhcm", {"format": "pt"})
write("new.dhcm", {"dhc.package": "2"})
write("main.dhcm", {"dhc.package": "1"})
write("text.dhcm", {"dhc.package": "1", "dhc.main": "m.dhc", "dhc.texts": "m.dhc\n"})
write("out.dhcm", {"dhc.package": "1", "dhc.main": "m.dhc", "dhc.texts": "m.dhc\n", "dhc.text.m.dhc": 'import "../data/x.dhc"\nmodel M(d: int = 2) { param w: [d] = zeros() forward() -> (y: [d]) { return w } }\n'})
write("file.dhcm", {"dhc.package": "1", "dhc.main": "../m.txt", "dhc.texts": ""})
P
cp gone/m.dhc m.txt
expect 1 "none.dhcm: error: is no package of dhcc (its metadata have no dhc.package)" "$dhcc" info none.dhcm
expect 1 "new.dhcm: error: is a package of version 2; this dhcc reads version 1" "$dhcc" info new.dhcm
expect 1 "main.dhcm: error: does not say which text is its model (dhc.main)" "$dhcc" info main.dhcm
expect 1 "text.dhcm: error: names the text 'm.dhc' and does not hold it" "$dhcc" info text.dhcm
expect 1 "import leaves the model folder" "$dhcc" info out.dhcm
expect 1 "" "$dhcc" info file.dhcm
mkdir -p r1 r2
printf 'layer X() {\n  param w: [2] = zeros()\n  forward() -> (y: [2]) { return w }\n}\n' > r1/x.dhc
echo 'import "x.dhc"' > r1/lib.dhc
printf 'import lib\nmodel Two() {\n  x = X()\n  forward() -> (y: [2]) { return x() }\n}\n' > r2/x.dhc
printf 'model Bare() { param w: [2] = zeros() }\n' > bare.dhc
DHC_MODEL_PATH=r1:r2:$here/../../models expect 1 "r2/x.dhc and another file would both be shipped/x.dhc of a package" "$dhcc" pack r2/x.dhc --weights runs/a -o two.dhcm
expect 1 "Bare has no entry" "$dhcc" pack bare.dhc --weights runs/a -o bare.dhcm
head -c 300 elsewhere/m.dhcm > cut.dhcm
expect 1 "cut.dhcm: error:" "$dhcc" info cut.dhcm
finish
