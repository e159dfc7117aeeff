#!/usr/bin/env bash
# one_row.sh DHCC SOURCE_DIR: docs/adding.md says where an elementwise op is written: one row, its derivative, and what it
# is for each writer. asinh was added so, and no other file of the compiler knows of it in any spelling; yet it is a
# constant and part of a model (tests/ops differentiates it twice and compiles it).
set -euo pipefail
dhcc=$1 source=$2
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

knows=$(cd "$source" && grep -rli --include='*.[chly]' --include='*.def' asinh api backends cli frontend include ir passes runtime | sort | tr '\n' ' ')
want="backends/cpu/math.c backends/cuda/ew.c backends/cuda/pieces.c backends/object/c99_ew.c ir/ops.def passes/grad/vjp_ew.c "
[ "$knows" = "$want" ] || { echo "asinh is known to: $knows"; exit 1; }
for file in $want; do
  grep -q "\`$file\`" "$source/docs/adding.md" || { echo "docs/adding.md does not name $file"; exit 1; }
done

cat >"$tmp/m.dhc" <<'D'
model M(c: float = 0.5) {
  param w: [3] = asinh(iota(3) + asinh(2.0))
  forward<N>(x: [N, 3]) -> (y: [N, 3], k: [3]) {
    return asinh(x) * asinh(2.0) + asinh(c), w
  }
  loss<N>(x: [N, 3]) -> (loss: []) { return mean(asinh(x * w)) }
}
D
"$dhcc" check "$tmp/m.dhc"
graph=$("$dhcc" print "$tmp/m.dhc" --entry forward --stage=graph)
grep -q 'value = 0x1.719218313d087p+0' <<<"$graph" || { echo "asinh(2.0) is no constant: $graph"; exit 1; }
grep -q 'asinh' <<<"$("$dhcc" print "$tmp/m.dhc" --entry loss --stage=graph)"
