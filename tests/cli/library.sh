#!/usr/bin/env bash
# list, doc: what is shipped, as its files declare it.
. "$(dirname "$0")/common.sh"
models=$(cd "$(dirname "$0")/../../models" && pwd)
export DHC_MODEL_PATH=$models
"$dhcc" list --json > "$work/all.json" || fail "list --json"
python3 - "$work/all.json" "$models" <<'P' || fail "list does not have what the files declare"
import json, pathlib, re, sys
items = json.load(open(sys.argv[1]))["items"]
got = {(i["kind"], i["name"], i["import"]) for i in items if i["kind"] != "builtin"}
want = set()
for f in pathlib.Path(sys.argv[2]).rglob("*.dhc"):
    for kind, name in re.findall(r"^(layer|model|fn) (\w+)", f.read_text(), re.M):
        want.add(({"fn": "function"}.get(kind, kind), name, str(f.relative_to(sys.argv[2]))[:-4]))
assert got == want, got ^ want
assert all(i["comment"] for i in items if i["kind"] in ("layer", "model")), [i["name"] for i in items if not i["comment"]]
assert all(i["comment"] for i in items if i["kind"] == "builtin"), [i["name"] for i in items if not i["comment"]]
assert all(i["text"] for i in items if i["kind"] in ("layer", "function"))
assert all(i["signature"].startswith(i["name"]) for i in items), items
linear = next(i for i in items if i["name"] == "Linear")
assert linear["signature"] == "Linear(in_features: int in 1..1048576, out_features: int in 1..1048576, bias: bool = true)", linear
assert linear["entries"] == "forward<...S>(x: [...S, in_features]) -> (y: [...S, out_features])\n", linear
ssm = next(i for i in items if i["name"] == "DHCSSM")
assert "preset gray\n" in ssm["presets"] and "recipe default\n" in ssm["presets"], ssm
assert any(i["kind"] == "builtin" and i["signature"] == "argmax(x, axis?)" for i in items)
P
[ "$("$dhcc" list models | wc -l)" = "$(grep -rl "^model " "$models" | wc -l)" ] || fail "list models"
expect 0 "layer     RMSNorm                layers/norm            x / sqrt(mean(x^2) + eps) * weight over the last axis" "$dhcc" list layers
expect 0 "  import layers/linear" "$dhcc" doc Linear
expect 0 "function relu<...S>(x: [...S]) -> (y: [...S])" "$dhcc" doc relu
expect 0 "layer LayerNorm(" "$dhcc" doc layers/norm
expect 0 "  known everywhere" "$dhcc" doc einsum
expect 0 "  rint(a)" "$dhcc" doc round
expect 0 "    fn relu<...S>(x: [...S]) -> (y: [...S]) { return max(x, 0.0) }" "$dhcc" doc relu
"$dhcc" doc > "$work/reference.md" || fail "all of it"
diff "$(dirname "$0")/../../docs/reference.md" "$work/reference.md" > "$work/diff" || fail "docs/reference.md is not what doc prints: scripts/gen-docs writes it: $(head -5 "$work/diff")"
expect 1 "nothing is called 'Linea' (did you mean 'Linear'?); dhcc list has all" "$dhcc" doc Linea
expect 2 'list: needs models, layers, functions or builtins, got "layer" (did you mean layers?)' "$dhcc" list layer
finish
