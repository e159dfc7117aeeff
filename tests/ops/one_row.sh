#!/usr/bin/env bash
# one_row.sh DHCC SOURCE_DIR: docs/adding.md says that an elementwise op is one row, its derivative and
# an emitter a backend. asinh was added so, and nothing else in the compiler knows of it; yet it is a
# constant, part of a model, differentiated twice and compiled.
set -euo pipefail
dhcc=$1 source=$2
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

knows=$(cd "$source" && grep -rliw --include='*.[chly]' --include='*.def' -E '(vjp_)?asinh' api backends cli frontend include ir passes runtime |
        grep -v '^backends/' | sort | tr '\n' ' ')
[ "$knows" = "ir/ops.def passes/grad/vjp_ew.c " ] || { echo "asinh is known to: $knows"; exit 1; }
for backend in "$source"/backends/*/; do
  n=$(grep -rliw --include='*.[ch]' -E '(cpu_ew_|CPU_EW\()?asinh' "$backend" | wc -l || true)
  [ "$n" -le 1 ] || { echo "$backend knows asinh in $n files"; exit 1; }
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
