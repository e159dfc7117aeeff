#!/usr/bin/env bash
# check: shipped models are clean; mistakes are located and hinted at; 50 ms.
. "$(dirname "$0")/common.sh"
for m in dhc_ssm mlp lstm; do expect 0 'no errors' "$dhcc" check "$m"; done
cat > "$work/typo.dhc" <<'M'
import std/nn
import layers/linear
model M(d: int = 4) {
  fc = Linear(d, 3)
  forward<B>(x: [B, d]) -> (y: [B, 3]) { return fd(x) }
}
M
expect 1 "typo.dhc:5:" "$dhcc" check "$work/typo.dhc"
expect 1 "did you mean" "$dhcc" check "$work/typo.dhc"
sed '/^import layers/d' "$work/typo.dhc" > "$work/bare.dhc"
expect 1 "hint: add 'import layers/linear'" "$dhcc" check "$work/bare.dhc"
sed 's/x: \[B, d\]/x: [B, L, d]/; s/fd(x)/fc(x)/' "$work/typo.dhc" > "$work/dim.dhc"
expect 1 "hint: an entry binds its dims: forward<L>(...)" "$dhcc" check "$work/dim.dhc"
sed 's/fd(x)/fc(fc(x))/' "$work/typo.dhc" > "$work/shape.dhc"
"$dhcc" check --json "$work/shape.dhc" | python3 -c 'import json,sys; d = json.load(sys.stdin); assert d["diagnostics"][0]["line"] == 5 and d["exit_status"] == 1' || fail "errors as JSON"
awk '/^```/ { n++; next } n == 1' "$(dirname "$0")/../../docs/language.md" > "$work/doc.dhc"
expect 0 'Stack: no errors, 0 warnings' "$dhcc" check "$work/doc.dhc"
python3 "$(dirname "$0")/doc_check.py" "$dhcc" "$(dirname "$0")/../../docs/language.md" || fail "docs/language.md shows what does not pass"
python3 "$(dirname "$0")/doc_names.py" "$(dirname "$0")/../.." || fail "docs/language.md shows what is not there"
sed 's/fd(x)/x @ ones([3, d]).T/' "$work/typo.dhc" > "$work/unused.dhc"
expect 0 "warning[E0320]: parameter 'fc.weight' is used by no entry" "$dhcc" check "$work/unused.dhc"
expect 0 'RMSNorm: no errors' "$dhcc" check "$(dirname "$0")/../../models/layers/norm.dhc" --root RMSNorm --set d=8
printf '' > "$work/empty.dhc"
expect 1 'empty.dhc:1:1: error' "$dhcc" check "$work/empty.dhc"
expect 1 'hiden_dim' "$dhcc" info dhc_ssm --set hiden_dim=3
expect 1 "hidden_dim" "$dhcc" info dhc_ssm --set hiden_dim=3
expect 1 'must be in 1..16384' "$dhcc" info dhc_ssm --set hidden_dim=0

# every form of every entry, both ways of every `if` on sizes
cat > "$work/forms.dhc" <<'M'
import std/nn
model M(d: int = 4) {
  state h: [B, d] = zeros()
  forward<B, L>(x: [B, L, d]) -> (y: [B, L, d]) {
    y = x
    STATEMENT
    h = h + sum(x, axis = 1)
    return y
  }
  other<B, L>(x: [B, L, d], z: [B, L, d] = zeros()) -> (y: [B, L, d]) {
    y = x + z
    if present(z) { y = y * 2.0 }
    return y
  }
}
M
# form 'STATEMENT' STATUS TEXT
form() {
  sed "s/STATEMENT/$1/" "$work/forms.dhc" > "$work/form.dhc"
  expect "$2" "$3" "$dhcc" check "$work/form.dhc"
}
form 'y = y' 0 'no errors'
form 'if streaming { y = nonsense(h, 3) }' 1 "form.dhc:6:24: error[E0301]: unknown function or submodule 'nonsense'"
form 'if not streaming { y = nonsense(h, 3) }' 1 "unknown function or submodule 'nonsense'"
form 'if training { y = nonsense(h, 3) }' 1 "unknown function or submodule 'nonsense'"
form 'if L > 7 { y = nonsense(h, 3) }' 1 "unknown function or submodule 'nonsense'"
form 'if L > 7 { y = x } else { y = nonsense(h, 3) }' 1 "unknown function or submodule 'nonsense'"
form 'if L == 7 { y = x } else { y = nonsense(h, 3) }' 1 "unknown function or submodule 'nonsense'"
form 'if streaming and L < 7 { y = x } else if streaming { y = nonsense(h, 3) }' 1 "unknown function or submodule 'nonsense'"
form 'y = y if L > 7 else nonsense(h, 3)' 1 "unknown function or submodule 'nonsense'"
form 'for i in 0..2 { if L > i + 1 { if B > 3 { y = x } else { y = nonsense(h, 3) } } }' 1 "unknown function or submodule 'nonsense'"
# what a require rules out is not there to be checked
form 'require not streaming, "no pieces"\n    y = y' 0 'no errors'
sed -i '/present(z)/s/y \* 2.0/nonsense(z)/' "$work/forms.dhc"
form 'y = y' 1 "unknown function or submodule 'nonsense'"
# what is differentiated is looked at for corners without a derivative; what only runs is not
cat > "$work/tie.dhc" <<'M'
model M() {
  param w: [4] = ones()
  loss<B>(x: [B, 4]) -> (loss: []) {
    u = x * w
    return mean(max(u, 0.0) + 0.1 * min(u, 0.0))
  }
}
M
python3 - "$work/x.npy" <<'P'
import struct, sys
h = "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }".ljust(117) + "\n"
open(sys.argv[1], "wb").write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(h)) + h.encode() + struct.pack("<12f", *[i / 7 for i in range(12)]))
P
tie() { "$dhcc" run "$work/tie.dhc" --entry loss --inputs x="$work/x.npy" --backend interp -o "$work/y.safetensors" "$@" 2>&1; }
[ "$(tie --grad | grep -c 'tie.dhc:5:37: warning\[E0322\]')" = 1 ] || fail "no warning of a tie in what is differentiated"
[ "$(tie | grep -c E0322)" = 0 ] || fail "a warning where nothing is differentiated"
printf 'model M() {\n  forward<B>(x: [B, 3]) -> (y: [B, 3]) {\n    z = x + 1.0\n    return x\n  }\n}\n' > "$work/unread.dhc"
expect 0 "unread.dhc:3:5: warning[E0324]: 'z' gets a value that nothing reads" "$dhcc" check "$work/unread.dhc"
finish
