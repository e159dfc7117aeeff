#!/usr/bin/env bash
# The kernel store: reuse from disk, damage, foreign rights: only speed changes.
own_store=1
. "$(dirname "$0")/common.sh"
info() { "$dhcc" info mlp --json --compile --entry forward --sizes B=4; }
first=$(info | number kernels_compiled)
[ "${first:-0}" -gt 0 ] || fail "nothing compiled"
[ "$(info | number kernels_compiled)" = 0 ] || fail "second run compiled"
expect 0 'kernels' "$dhcc" cache show
expect 0 '0 damaged' "$dhcc" cache verify
entry=$(find "$XDG_CACHE_HOME/dhcc" -type f | grep -E '[0-9a-f]{64}' | head -1)
printf 'x' | dd of="$entry" bs=1 seek=300 conv=notrunc 2>/dev/null
expect 1 '1 damaged' "$dhcc" cache verify
expect 0 'is damaged, rebuilt' "$dhcc" info mlp --compile --entry forward --sizes B=4
expect 0 '0 damaged' "$dhcc" cache verify
# an entry that claims to need what this machine has not, with a right checksum
python3 - "$(find "$XDG_CACHE_HOME/dhcc" -type f | grep -E '[0-9a-f]{64}' | head -1)" <<'P' || fail "forging"
import hashlib, struct, sys
data = open(sys.argv[1], "rb").read()
n = struct.unpack("<I", data[12:16])[0]
needs, payload = data[120 : 120 + n] + b",avx9000", data[120 + n :]
head = data[:12] + struct.pack("<I", len(needs)) + data[16:88]
assert hashlib.sha256(data[:88] + data[120:]).digest() == data[88:120]
open(sys.argv[1], "wb").write(head + hashlib.sha256(head + needs + payload).digest() + needs + payload)
P
expect 0 'needs avx9000, rebuilt' "$dhcc" info mlp --compile --entry forward --sizes B=4
[ "$(info | number kernels_compiled)" = 0 ] || fail "the forged entry was not replaced"
expect 2 'needs show, verify or prune' "$dhcc" cache shw
mv "$XDG_CACHE_HOME/dhcc" "$work/elsewhere"
ln -s "$work/elsewhere" "$XDG_CACHE_HOME/dhcc"
expect 0 'cache folder is not private, running without cache' "$dhcc" info mlp --compile --entry forward --sizes B=4
rm "$XDG_CACHE_HOME/dhcc"
mv "$work/elsewhere" "$XDG_CACHE_HOME/dhcc"
chmod 0777 "$XDG_CACHE_HOME/dhcc"
expect 0 'not private' "$dhcc" info mlp --compile --entry forward --sizes B=4
chmod 0700 "$XDG_CACHE_HOME/dhcc"
expect 0 'removed' "$dhcc" cache prune
finish
