#!/usr/bin/env bash
# sanitize.sh DHCC: compute-sanitizer's four tools over a training step of a very small model that has kernels of all kinds (exactly it is
# all of ir/kinds.def, checked here; in tf32 the templates by matrix instructions), side by side. A line for each; exit 1 where one
# reports something, 77 where there is no GPU or no compute-sanitizer. Half a minute with 16 processors.
dhcc=$1 wrong=0
"$dhcc" doctor | grep -q '^GPU .*sm_' || { echo "skipped: no GPU" && exit 77; }
command -v compute-sanitizer > /dev/null || { echo "skipped: no compute-sanitizer" && exit 77; }
out=$(mktemp -d) && trap 'rm -rf "$out"' EXIT
model='dhc_jamba --set hidden_dim=16 --set num_layers=2 --set mamba_ratio=1 --set moe_frequency=2 --set num_experts=2 --set num_heads=2 --set tokens=grid'
# shellcheck disable=SC2086
kinds=$("$dhcc" print $model --stage=train.spec --backend cuda --quiet | sed -n 's/^spec \([a-z_]*\) .*/\1/p' | sort -u)
missing=$(sed -n 's/^KIND([A-Z_]*, "\([a-z_]*\)".*/\1/p' "$(dirname "$0")/../../ir/kinds.def" | sort | comm -23 - <(echo "$kinds"))
[ -z "$missing" ] || { echo "the model has no kernel of: ${missing//$'\n'/ }" && exit 1; }
awk 'BEGIN { for (i = 0; i < 4; i++) { printf "\\x%02x", i; for (k = 0; k < 3072; k++) printf "\\x%02x", (k * 7 + i * 31) % 251 } }' > "$out/text"
printf '%b' "$(< "$out/text")" > "$out/images.bin"
step() { # COMPUTE [TOOL]
  local log=$out/$1.${2:-none} sanitizer=()
  [ -z "${2:-}" ] || sanitizer=(compute-sanitizer --tool "$2")
  # shellcheck disable=SC2086
  "${sanitizer[@]}" "$dhcc" train $model --data "cifar10:$out/images.bin" --batch 2 --steps 1 --val-fraction 0 --backend cuda --compute "$1" \
    --out "$out/run.$1.${2:-none}" > "$log" 2>&1 || { tail -3 "$log" && return 1; }
  [ -z "${2:-}" ] || grep -q 'SUMMARY: 0 ' "$log"
}
for compute in f32 tf32; do step $compute & done # the kernels are in the store then
wait
for compute in f32 tf32; do
  for tool in memcheck racecheck initcheck synccheck; do
    { step $compute $tool || touch "$out/failed"; echo "$compute $tool: $(grep -h SUMMARY "$out/$compute.$tool")"; } &
  done
done
wait
[ ! -e "$out/failed" ] || wrong=1
exit $wrong
