#!/usr/bin/env bash
# Installs the build into a fresh folder, moves that folder, and uses it as a stranger would:
# the command with the models of the folder, find_package(dhc), pkg-config.
#
#   install.sh BUILD_DIR C_COMPILER [C FLAGS]
set -euo pipefail
build=$1 cc=$2 flags=${3:-}
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export XDG_CACHE_HOME=$work/cache NO_COLOR=1 LC_ALL=C
unset DHC_MODEL_PATH

cmake --install "$build" --prefix "$work/first" >/dev/null
mv "$work/first" "$work/prefix"
prefix=$work/prefix
models=$prefix/share/dhcc/models
[ -f "$models/dhc_ssm.dhc" ] || { echo "FAILED: no models in the prefix"; exit 1; }
cat > "$models/only_here.dhc" <<'M'
import layers/linear
model OnlyHere(d: int = 4) {
  fc = Linear(d, 3)
  forward<B>(x: [B, d]) -> (y: [B, 3]) { return fc(x) }
}
M
"$prefix/bin/dhcc" --version
"$prefix/bin/dhcc" check only_here
"$prefix/bin/dhcc" info dhc_ssm --json >/dev/null

cmake -S "$here/app" -B "$work/app" -DCMAKE_PREFIX_PATH="$prefix" -DCMAKE_C_COMPILER="$cc" -DCMAKE_C_FLAGS="$flags" >/dev/null
cmake --build "$work/app" >/dev/null
"$work/app/app"

lib=$(dirname "$(find "$prefix" -name dhc.pc)")
export PKG_CONFIG_PATH=$lib
# shellcheck disable=SC2046,SC2086
"$cc" -std=c11 $flags "$here/app/app.c" $(pkg-config --cflags --libs dhc) -Wl,-rpath,"$(dirname "$lib")" -o "$work/app2"
"$work/app2"

# ---- examples/: a model inside a C program, and through ctypes; both say what the command says
data=/usr/share/datasets/fashion-mnist
if "$prefix/bin/dhcc" build mlp -o "$work/mlp.o" --quiet 2> "$work/why" && [ -f $data/t10k-images-idx3-ubyte.gz ]; then
  model=(dhc_ssm --preset gray --set hidden_dim=16)
  "$prefix/bin/dhcc" train "${model[@]}" --data mnist:$data --out "$work/run" --steps 8 --batch 32 --limit 600 --no-augment --quiet
  weights=$work/run/last.safetensors
  cmake -S "$here/../../examples/c" -B "$work/c" -DCMAKE_PREFIX_PATH="$prefix" -DCMAKE_C_COMPILER="$cc" -DWEIGHTS="$weights" >/dev/null
  cmake --build "$work/c" >/dev/null
  gzip -dc $data/t10k-images-idx3-ubyte.gz > "$work/images"
  "$prefix/bin/dhcc" build "${model[@]}" --entry classify --weights "$weights" --name clothes -o "$work/clothes.so" --quiet
  "$prefix/bin/dhcc" eval "${model[@]}" --data mnist:$data --weights "$weights" --predictions 4 --json > "$work/eval.json"
  for i in 0 1 2 3; do
    want=$(python3 -c 'import json,sys; p=json.load(open(sys.argv[1]))["predictions"][int(sys.argv[2])]; print(p["predicted"], "%.4f" % p["probability"])' "$work/eval.json" $i)
    got=$("$work/c/classify" "$work/images" $i | sed 's/ .* / /')
    python=$(python3 "$here/../../examples/python/classify.py" "$work/clothes.so" $data/t10k-images-idx3-ubyte.gz $i)
    [ "$got" = "$want" ] && [ "$python" = "$want" ] || { echo "FAILED: image $i: C says $got, Python $python, dhcc eval $want"; exit 1; }
  done
else
  echo "examples: left out ($(head -1 "$work/why"); data in $data)"
fi
echo ok
