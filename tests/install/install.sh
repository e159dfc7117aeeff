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

# ---- dhc_add_model, every word; what it does not take
if "$prefix/bin/dhcc" build mlp -o "$work/mlp.o" --quiet 2> "$work/why"; then
  python3 "$here/../object/made_weights.py" "$prefix/bin/dhcc" "$work/w.safetensors" dhc_ssm --preset gray --set hidden_dim=16
  python3 "$here/../object/made_weights.py" "$prefix/bin/dhcc" "$work/grid.safetensors" dhc_ssm --preset gray --set hidden_dim=16 --set tokens=grid
  python3 "$here/../object/made_weights.py" "$prefix/bin/dhcc" "$work/grid_20.safetensors" dhc_ssm --preset gray --set hidden_dim=20 --set tokens=grid
  python3 "$here/../object/made_weights.py" "$prefix/bin/dhcc" "$work/mlp.safetensors" mlp --set hidden=8
  cmake -S "$here/models" -B "$work/models" -DCMAKE_PREFIX_PATH="$prefix" -DCMAKE_C_COMPILER="$cc" -DWEIGHTS="$work/w.safetensors" \
    -DGRID="$work/grid.safetensors" -DGRID_20="$work/grid_20.safetensors" -DMLP="$work/mlp.safetensors" > /dev/null
  cmake --build "$work/models" > "$work/built" || { cat "$work/built"; exit 1; }
  "$work/models/main"
  if command -v qemu-aarch64 ld.lld > /dev/null; then
    "$prefix/bin/dhcc" build mlp --target aarch64 --report -o "$work/mlp.o" 2> /dev/null | grep -Eq '^forward +[0-9]+ instructions$' ||
      { echo "FAILED: the installed command counts no instructions"; exit 1; }
  fi
  while IFS='|' read -r words want; do
    mkdir -p "$work/bad"
    printf 'cmake_minimum_required(VERSION 3.25)\nproject(bad LANGUAGES C)\nfind_package(dhc 0.1 REQUIRED)\ndhc_add_model(bad %s)\n' "$words" > "$work/bad/CMakeLists.txt"
    cmake -S "$work/bad" -B "$work/bad/b" -DCMAKE_PREFIX_PATH="$prefix" -DCMAKE_C_COMPILER="$cc" > "$work/bad/out" 2>&1 && { echo "FAILED: dhc_add_model($words) passes"; exit 1; }
    tr -s ' \n' ' ' < "$work/bad/out" | grep -qF "$want" || { echo "FAILED: dhc_add_model($words) does not say: $want"; cat "$work/bad/out"; exit 1; }
  done <<'W'
SET a=1|dhc_add_model(bad): needs MODEL
MODEL mlp QUANTISE int8|dhc_add_model(bad): what is QUANTISE;int8?
MODEL mlp QUANTIZE|dhc_add_model(bad): QUANTIZE has no value
MODEL mlp VARIANT a: VARIANT_WEIGHTS a|dhc_add_model(bad): VARIANT_WEIGHTS needs NAME:FILE, got a
W
fi

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
  # the first image as a PNG
  python3 - "$work/images" "$work/image.png" <<'P'
import struct, sys, zlib
pixels = open(sys.argv[1], "rb").read()[16:16 + 784]
chunk = lambda kind, body: struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
rows = b"".join(b"\0" + pixels[28 * i:28 * i + 28] for i in range(28))
open(sys.argv[2], "wb").write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 28, 28, 8, 0, 0, 0, 0)) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))
P
  if grep -q '^PNG_LIBRARY_RELEASE:FILEPATH=/' "$work/c/CMakeCache.txt"; then
    [ "$("$work/c/classify" "$work/image.png")" = "$("$work/c/classify" "$work/images" 0)" ] || { echo "FAILED: a PNG is another image"; exit 1; }
    ! "$work/c/classify" "$work/images.png" 2> /dev/null || { echo "FAILED: a PNG that is none"; exit 1; }
  else
    ! "$work/c/classify" "$work/image.png" 2> "$work/said" && grep -q "built without libpng" "$work/said" || { echo "FAILED: a PNG without libpng"; exit 1; }
  fi
else
  echo "examples: left out ($(head -1 "$work/why"); data in $data)"
fi
echo ok
