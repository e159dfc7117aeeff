#!/usr/bin/env bash
# Pictures in: folders of them as data, single ones of every form to predict, what their pixels come to.
. "$(dirname "$0")/common.sh"
here=$(cd "$(dirname "$0")" && pwd)
mkdir "$work/p" && python3 "$here/pictures.py" "$work/p" > "$work/sums.json" || fail "no pictures"
cd "$work" || exit 1
gray=(mlp --set hidden=16 --set depth=1 --set height=8 --set width=8 --set output_dim=3 --set dropout=0.0)

# a folder of pictures is a data set, whose classes have names
"$dhcc" train "${gray[@]}" --data images:p/set --epochs 12 --batch 10 --lr 0.01 --threads 1 --quiet --out runs/a || fail "train"
[ "$(tail -1 runs/a/metrics.csv | cut -d, -f1)" = 72 ] || fail "steps of 55 pictures by 10: $(tail -1 runs/a/metrics.csv)"
"$dhcc" eval runs/a --json > got.json || fail "eval: $(cat got.json)"
python3 -c 'import json; d = json.load(open("got.json")); assert d["accuracy"] == 1 and d["n_examples"] == 18, d' || fail "test pictures"
for i in 0 1 2; do
  names=(ball cat shoe)
  "$dhcc" predict runs/a p/set/test/${names[i]}/00*.* --json > got.json || fail "predict: $(cat got.json)"
  python3 - ${names[i]} $i <<'P' || fail "predictions of ${names[i]}: $(cat got.json)"
import json, sys
rows = json.load(open("got.json"))["predictions"]
assert len(rows) == 6 and rows[0]["file"].endswith("000.png") and rows[1]["file"].endswith("001.PNG"), rows
for r in rows:
    best = r["classes"][0]
    assert best["name"] == sys.argv[1] and best["label"] == int(sys.argv[2]) and len(r["classes"]) == 3, r
    assert abs(sum(c["probability"] for c in r["classes"]) - 1) < 1e-9, r
P
done
expect 0 "  shoe" "$dhcc" predict runs/a p/set/test/shoe/000.png --top 1
[ "$("$dhcc" predict runs/a p/set/test/shoe/000.png --top 1 --quiet | wc -l)" = 2 ] || fail "--top 1"
[ "$("$dhcc" predict runs/a p/set/test/shoe/000.png --csv --quiet | head -2 | cut -d, -f1-4)" = "file,place,label,name,probability
p/set/test/shoe/000.png,1,2,shoe" ] || [ "$("$dhcc" predict runs/a p/set/test/shoe/000.png --csv --quiet | sed -n 2p | cut -d, -f1-4)" = "p/set/test/shoe/000.png,1,2,shoe" ] || fail "--csv"
"$dhcc" pack runs/a -o a.dhcm --quiet && "$dhcc" predict a.dhcm p/set/test/cat/000.png --top 1 --csv --quiet | grep -q ",1,cat," || fail "a package forgets the names"

# the same run where memory is too small for the pictures, whoever reads them, and gone on with half way
cat > means.dhc <<'M'
import std/nn
import layers/linear
model Means() {
  fc = Linear(1, 3)
  normalize<B, H, W>(pixels: u8[B, 1, H, W]) -> (image: [B, 1, H, W]) { return float(pixels) * (1.0 / 255.0) }
  loss<B, H, W>(image: [B, 1, H, W], target: i64[B]) -> (loss: []) { return cross_entropy(fc(mean(image, axis = [2, 3])), target) }
}
M
large=(train means.dhc --data images:p/large --batch 2 --lr 0.01 --quiet)
"$dhcc" "${large[@]}" --epochs 3 --threads 1 --out runs/c || fail "all pictures kept"
"$dhcc" "${large[@]}" --epochs 3 --steps 40 --threads 2 --max-memory 3200000 --out runs/d || fail "few pictures kept"
"$dhcc" "${large[@]}" --epochs 3 --threads 3 --max-memory 3200000 --out runs/d --resume || fail "gone on with"
cmp runs/c/last.safetensors runs/d/last.safetensors || fail "weights differ by memory and threads"
expect 0 "6 parameters; 55 examples of 3 classes to train with, 5 to validate with; adam, lr 1.00e-02, batches of 2, 84 steps in 3 epochs from step 85" \
  "$dhcc" "${large[@]:0:${#large[@]}-1}" --epochs 3 --out runs/d --resume
cp -r p/set p/hurt && head -c 60 p/set/train/cat/004.png > p/hurt/train/cat/004.png
for threads in 1 3; do
  expect 1 "p/hurt/train/cat/004.png: error: is no whole PNG: ends too early" "$dhcc" train "${gray[@]}" --data images:p/hurt --epochs 1 --threads $threads --quiet
done

# without splits all is for training; validation is drawn from all classes
"$dhcc" train "${gray[@]}" --data images:p/flat --epochs 1 --batch 3 --val-fraction 0.5 --threads 1 --quiet --out runs/b || fail "a flat folder"
"$dhcc" train "${gray[@]}" --set output_dim=5 --data images:p/flat --epochs 1 --batch 3 --threads 1 2> out.txt > /dev/null
grep -q 'note: the data have [23] classes, MLP tells 5 apart (--set output_dim=[23])' out.txt || fail "classes that the data lack: $(cat out.txt)"
expect 1 "the classes of MLP (--set output_dim=3)" "$dhcc" train "${gray[@]}" --set output_dim=1 --data images:p/set --epochs 1 --quiet
expect 1 "images:p/flat: has no test pictures (a folder p/flat/test)" "$dhcc" eval runs/b

# every form of picture comes to the pixels it has
cat > sums.dhc <<'M'
import std/nn
model Sums(channels: int = 3) {
  param one: [1] = ones()
  forward<B, H, W>(image: [B, channels, H, W]) -> (logits: [B, channels + 1]) {
    s = sum(image, axis = [2, 3]) * 0.001
    return concat([s, broadcast(one - 1.0, [B, 1])], axis = 1)
  }
  normalize<B, H, W>(pixels: u8[B, channels, H, W]) -> (image: [B, channels, H, W]) { return float(pixels) }
}
M
for channels in 3 1; do
  python3 - <<'P'
import json, struct
head = json.dumps({"one": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
head += b" " * (-len(head) % 8)
open("w.safetensors", "wb").write(struct.pack("<Q", len(head)) + head + struct.pack("<f", 1))
P
  (cd p && "$dhcc" predict ../sums.dhc --set channels=$channels --weights ../w.safetensors gray.png gray16.png gray_alpha.png one_bit.png rgb.png \
    rgba.png palette.png colour.jpeg gray.JPG --json) > got.json || fail "forms of pictures: $(cat got.json)"
  python3 - $channels <<'P' || fail "pixels of $channels channels"
import json, math, sys
want, n = json.load(open("sums.json")), int(sys.argv[1])
rows = json.load(open("got.json"))["predictions"]
assert len(rows) == len(want) == 9, rows
for r in rows:
    p = {c["label"]: c["probability"] for c in r["classes"]}
    got = [1000 * math.log(p[c] / p[n]) for c in range(n)]
    w = want[r["file"]][:3] if n == 3 else want[r["file"]][3:]
    assert w == [None] or all(abs(a - b) < 0.1 for a, b in zip(got, w)), (r["file"], got, w)
P
done

# what is no picture, or none that fits
one() { expect "$1" "$2" "$dhcc" predict runs/a "${@:3}"; }
one 1 "p/cut.png: error: is no whole PNG: ends too early" p/cut.png
one 1 "p/wrong.png: error: is no whole PNG: " p/wrong.png
one 1 "p/cut.jpg: error: is no whole JPEG: " p/cut.jpg
one 1 "p/inks.jpg: error: has four inks (CMYK); save it as RGB" p/inks.jpg
one 1 "p/text.png: error: is neither PNG nor JPEG" p/text.png
one 1 "p/wide.png: error: is 40000x1 pixels, more than 32768 on a side" p/wide.png
one 1 "p/absent.png" p/absent.png
one 1 "9" p/other.png
one 2 "usage: dhcc predict MODEL PICTURE..."
expect 2 "predict: needs --weights FILE of a MODEL that is no run" "$dhcc" predict mlp p/gray.png
expect 2 "of a MODEL that is no run (there is no file or folder 'runs/none' here)" "$dhcc" predict runs/none p/gray.png
expect 2 "(there is no file or folder 'runs/none' here)" "$dhcc" eval runs/none --data images:p
printf 'model Bare() {\n  param w: [2] = zeros()\n  other() -> (y: [2]) { return w }\n}\n' > bare.dhc
expect 1 "Bare has no entry 'forward' with a result 'logits': forward<B, H, W>(image: [B, 3, H, W]) -> (logits: [B, classes])" "$dhcc" predict bare.dhc --weights w.safetensors p/gray.png
grep -v normalize sums.dhc > raw.dhc
expect 1 "Sums has no entry 'normalize', which makes 'image' of pixels: normalize<B, H, W>(pixels: u8[B, 3, H, W]) -> (image: [B, 3, H, W]) { return float(pixels) * (1.0 / 255.0) }" \
  "$dhcc" predict raw.dhc --weights w.safetensors p/gray.png
sed 's/pixels: u8\[B, channels, H, W\]/pixels: u8[B, H, W]/; s/return float(pixels) }/return broadcast(reshape(float(pixels), [B, 1, H, W]), [B, channels, H, W]) }/' sums.dhc > flat.dhc
expect 1 "entry 'normalize' of Sums does not take pixels u8[B, C, H, W]" "$dhcc" predict flat.dhc --weights w.safetensors p/gray.png
expect 1 "entry 'normalize' of Sums takes 5 channels; pictures have 1 or 3" "$dhcc" predict sums.dhc --set channels=5 --weights w.safetensors p/gray.png
sed 's/return concat.*/return sum(s) * one/; s/logits: \[B, channels + 1\]/logits: [1]/' sums.dhc > line.dhc
expect 1 "result 'logits' of Sums is not [B, classes]" "$dhcc" predict line.dhc --weights w.safetensors p/gray.png
cat > bare_loss.dhc <<'M'
import std/nn
import layers/linear
model L() {
  fc = Linear(64, 3)
  loss<B>(image: [B, 1, 8, 8], target: i64[B]) -> (loss: [], logits: [B, 3]) {
    logits = fc(reshape(image, [B, 64]))
    return cross_entropy(logits, target), logits
  }
}
M
expect 1 "input 'image' is u8, entry 'loss' needs f32; the model's entry normalize makes it of pixels: normalize<B, H, W>(pixels: u8[B, 3, H, W]) -> (image: [B, 3, H, W]) { return float(pixels) * (1.0 / 255.0) }" \
  "$dhcc" train bare_loss.dhc --data images:p/set --epochs 1 --quiet
data() { expect 1 "$1" "$dhcc" train "${gray[@]}" --data "images:$2" --epochs 1 --quiet; }
mkdir -p e1 e2/train e2/test/a e3/test/a e4/train/a e4/test/b e5/a
cp p/gray.png e3/test/a && cp p/gray.png e4/train/a && cp p/gray.png e4/test/b && cp p/gray.png p/other.png e5/a
data "e0: no such file or directory" e0
data "e1: has no folders, one for each class" e1
data "e2/train: has no folders, one for each class" e2
data "images:e3: has no folder e3/train beside the others" e3
data "e5/a/other.png: error: is 9x8 pixels, e5/a/gray.png is 8x8; all must be of one size" e5
expect 1 "e4/test/b: is a class that the training pictures lack" "$dhcc" eval runs/a --data images:e4
mkdir e1/a
data "e1/a: has no .png, .jpg or .jpeg files" e1
finish
