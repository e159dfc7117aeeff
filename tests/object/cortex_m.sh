#!/usr/bin/env bash
# examples/cortex-m as it stands, from training to a board in QEMU.
#   cortex_m.sh DHCC EXAMPLE DATA
set -euo pipefail
for tool in make arm-linux-gnueabihf-gcc qemu-system-arm; do
  command -v "$tool" > /dev/null || { echo "skipped: no $tool"; exit 77; }
done
[ -d "$3" ] || { echo "skipped: no $3"; exit 77; }
dhcc=$1 example=$2 data=$3
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT && cd "$work"
fail() { echo "FAILED: $*"; exit 1; }
"$dhcc" train mlp --set hidden=16 --data "mnist:$data" --limit 6000 --batch 64 --steps 80 --out run --quiet
board() { make -s -f "$example/Makefile" run DHCC="$dhcc" CROSS=arm-linux-gnueabihf- WEIGHTS=run/last.safetensors 2>&1; }
out=$(board) || fail "the board ends with $?: $out"
grep -q "selftest: the same bits as where the object was made" <<< "$out" || fail "$out"
grep -q "class: trouser" <<< "$out" || fail "$out"
[ -z "$(arm-linux-gnueabihf-nm -u clothes.o | grep -v -w -E 'U (mem(cpy|move|set)|__aeabi_mem(cpy|move|set|clr)[48]?)')" ] || fail "undefined: $(nm -u clothes.o)"
echo ok
