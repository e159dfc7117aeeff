#!/usr/bin/env bash
# graph: the layers and ops of an entry, as dot, as a page and as JSON; info's column of what each layer costs and gives.
. "$(dirname "$0")/common.sh"
cd "$work" || exit 1
cat > two.dhc <<'M'
import std/nn
import layers/linear
layer Block(d: int) {
  fc = Linear(d, d)
  forward<B>(x: [B, d]) -> (y: [B, d]) { return x + fc(relu(x)) }
}
model Two(d: int = 8) {
  first = Block(d)
  second = Block(d)
  forward<B>(x: [B, d], scale: [] = ones()) -> (y: [B, d]) { return second(first(x)) * scale }
  loss<B>(x: [B, d]) -> (loss: []) { return mean(square(forward(x))) }
}
M
"$dhcc" graph two.dhc --sizes B=4 --depth 1 > one.dot || fail "graph"
grep -q '^digraph "Two"' one.dot && grep -q 'label="first\\nBlock\\n72 parameters, ' one.dot || fail "blocks: $(cat one.dot)"
[ "$(grep -c -- ' -> ' one.dot)" = 3 ] && [ "$(grep -c 'cluster' one.dot)" = 0 ] || fail "input, first, second, result: $(cat one.dot)"
"$dhcc" graph two.dhc --sizes B=4 --depth 9 > all.dot || fail "graph of all"
[ "$(grep -c 'subgraph cluster' all.dot)" = 4 ] && [ "$(grep -c 'dot_general' all.dot)" = 2 ] || fail "ops in their layers: $(cat all.dot)"
"$dhcc" graph two.dhc --depth 0 | grep -q 'label="Two\\nTwo\\n144 parameters, ' || fail "the model as one box"
if command -v dot > /dev/null; then dot -Tsvg all.dot > all.svg || fail "Graphviz refuses"; fi
"$dhcc" graph two.dhc --sizes B=4 -o two.html && grep -q '<!doctype html>' two.html || fail "no page"
sed 's|http://www.w3.org/2000/svg||g' two.html | grep -E 'https?://|src=|href=' && fail "the page fetches something"
"$dhcc" graph dhc_jamba --preset small --json > jamba.json || fail "graph --json"
"$dhcc" info dhc_jamba --preset small --entry forward --json > info.json || fail "info --json"
"$dhcc" info two.dhc --sizes B=4 > info.txt || fail "info"
grep -q '^  forward(x: f32\[B, 8\], scale: f32\[\] = ...) -> (y: f32\[B, 8\])$' info.txt || fail "what forward takes: $(cat info.txt)"
grep -Eq '^second.fc +Linear +72 +544  f32\[4, 8\]$' info.txt || fail "what a layer gives: $(cat info.txt)"
python3 - <<'P' || fail "the document"
import json
g, info = json.load(open("jamba.json"))["graph"], json.load(open("info.json"))
assert all(a < k for k, n in enumerate(g["nodes"]) for a in n["args"])
layers = {l["path"]: l for l in g["layers"]}
assert sum(n["flops"] for n in g["nodes"]) == layers[""]["flops"] == info["costs"]["flops"]
for path, l in layers.items():  # what is in it: its own and its parts'
    assert l["flops"] == sum(n["flops"] for n in g["nodes"] if (g["layers"][n["layer"]]["path"] + ".").startswith(path + ".") or not path), path
mamba = [l for l in g["layers"] if l["layer"] == "Mamba"]
assert len(mamba) == 4 and len({l["flops"] for l in mamba}) == 1 and all(l["output"] == "f32[1, 1, 128]" for l in mamba), mamba
assert [n["name"] for n in g["nodes"] if n["op"] in ("input", "result")] == ["image", "logits"]
assert [(l["flops"], l.get("output")) for l in info["layers"]] == [(l["flops"], l.get("output")) for l in g["layers"]]
P
expect 2 'graph: -o needs FILE that ends in .dot or .html, got "x.png"' "$dhcc" graph two.dhc -o x.png
expect 1 "has no entry 'backwards'" "$dhcc" graph two.dhc --entry backwards
expect 2 "entry 'forward' has no size 'Z'" "$dhcc" graph two.dhc --sizes Z=3
finish
