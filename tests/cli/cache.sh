#!/usr/bin/env bash
# The kernel store: reuse from disk, damage, foreign rights: only speed changes.
. "$(dirname "$0")/common.sh"
info() { "$dhcc" info mlp --json --entry forward --sizes B=4; }
first=$(info | number kernels_compiled)
[ "${first:-0}" -gt 0 ] || fail "nothing compiled"
[ "$(info | number kernels_compiled)" = 0 ] || fail "second run compiled"
expect 0 'kernels' "$dhcc" cache show
expect 0 '0 damaged' "$dhcc" cache verify
entry=$(find "$XDG_CACHE_HOME/dhcc" -type f | grep -E '[0-9a-f]{64}' | head -1)
printf 'x' | dd of="$entry" bs=1 seek=300 conv=notrunc 2>/dev/null
expect 1 '1 damaged' "$dhcc" cache verify
expect 0 'is damaged, rebuilt' "$dhcc" info mlp --entry forward --sizes B=4
expect 0 '0 damaged' "$dhcc" cache verify
chmod 0777 "$XDG_CACHE_HOME/dhcc"
expect 0 'not private' "$dhcc" info mlp --entry forward --sizes B=4
chmod 0700 "$XDG_CACHE_HOME/dhcc"
expect 0 'removed' "$dhcc" cache prune
finish
