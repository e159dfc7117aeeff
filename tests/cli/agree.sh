#!/usr/bin/env bash
# Both backends on shapes and widths the reference files do not have: outputs and gradients.
. "$(dirname "$0")/common.sh"
py=$(dirname "$0")/agree.py

# agree B C H W MODEL [settings...]
agree() {
  local b=$1 c=$2 h=$3 w=$4
  shift 4
  python3 "$py" inputs "$work" "$b" "$c" "$h" "$w"
  local in=(--inputs "image=$work/image.npy" --inputs "target=$work/target.npy")
  "$dhcc" run "$@" --grad --quiet "${in[@]}" --backend interp -o "$work/interp.safetensors" || fail "interp: $*"
  "$dhcc" run "$@" --grad --quiet "${in[@]}" --backend cpu -o "$work/cpu.safetensors" || fail "cpu: $*"
  python3 "$py" compare "$work/cpu.safetensors" "$work/interp.safetensors" 1e-4 || fail "$b x $c x $h x $w $*"
}
set_() { for s in "$@"; do printf -- '--set %s ' "$s"; done; }

# shellcheck disable=SC2046
{
  agree 1 3 32 32 dhc_ssm $(set_ hidden_dim=5)
  agree 2 1 1 1 dhc_ssm $(set_ input_channels=1 hidden_dim=3)
  agree 3 2 3 5 dhc_ssm $(set_ input_channels=2 hidden_dim=7 state_dim=9)
  agree 1 1 4 4 dhc_ssm $(set_ input_channels=1 hidden_dim=1 state_dim=1)
  agree 5 3 9 17 dhc_ssm $(set_ hidden_dim=8 output_dim=11)
  agree 2 3 28 28 dhc_ssm $(set_ hidden_dim=6 label_smoothing=0.1)
  agree 2 3 12 20 dhc_ssm $(set_ hidden_dim=6 tokens=grid)
  agree 1 3 3 3 dhc_ssm $(set_ hidden_dim=4 tokens=grid)
  agree 3 1 28 28 mlp $(set_ hidden=33 depth=3)
  agree 2 1 13 28 lstm $(set_ hidden=19)
}

# A scalar that is the only float result is what its gradients are of; of several results somebody says how much each counts.
cat > "$work/square.dhc" <<'M'
model Square() {
  forward<B>(image: f32[B, 1, 1, 3]) -> (y: f32[]) { return sum(image * image) }
  both<B>(image: f32[B, 1, 1, 3]) -> (y: f32[], z: f32[B, 1, 1, 3]) { return sum(image * image), image * 3.0 }
}
M
python3 "$py" inputs "$work" 2 1 1 3
given=(--grad --inputs "image=$work/image.npy" --json)
any_of() { python3 -c 'import json, sys; r = {t["name"]: t for t in json.load(sys.stdin)["results"]}; print(any(r["grad.image"]["values"]))'; }
for backend in cpu interp; do
  [ "$("$dhcc" run "$work/square.dhc" --entry forward "${given[@]}" --backend $backend 2> "$work/said" | any_of)" = True ] || fail "no gradient of a scalar: $backend"
  ! grep -q cotangent "$work/said" || fail "a note where nothing is missing: $backend"
done
[ "$("$dhcc" run "$work/square.dhc" --entry both "${given[@]}" 2> "$work/said" | any_of)" = False ] || fail "a gradient that nobody asked for"
grep -q 'note: no cotangent of a result is given, so all gradients are 0; pass one by --inputs cotangent.y=FILE' "$work/said" || fail "zeros without a note"
finish
