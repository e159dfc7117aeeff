#!/usr/bin/env bash
# --json: stdout is one document, whatever happens, with the exit status, the messages and what
# was compiled; stderr keeps the messages as text.
own_store=1
. "$(dirname "$0")/common.sh"
python3 "$(dirname "$0")/data.py" "$work/data"
backend=${BACKENDS##* } # the last one
cat > "$work/good.dhc" <<'M'
import std/nn
import layers/linear
model M(d: int = 4) {
  fc = Linear(d, 3)
  forward<B>(x: [B, d]) -> (y: [B, 3]) { return fc(x) }
}
M
sed 's/fc(x)/fd(x)/' "$work/good.dhc" > "$work/bad.dhc"
sed 's/return fc(x)/return x @ ones([3, d]).T/' "$work/good.dhc" > "$work/warn.dhc"
printf 'func @f(%%0: f32[2] input "x") -> (%%1 "y") entry {\n  %%1 = exp(%%0) : f32[2]\n}\n' > "$work/good.gir"
sed 's/exp/exq/' "$work/good.gir" > "$work/bad.gir"
python3 - "$work/x.npy" <<'P'
import struct, sys
head = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 4), }"
head += " " * (63 - (10 + len(head)) % 64) + "\n"
open(sys.argv[1], "wb").write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode() + struct.pack("<8f", *range(8)))
P

# doc STATUS 'python condition on d' command...
doc() {
  local want=$1 holds=$2 rc
  shift 2
  "$dhcc" "$@" --json > "$work/out" 2> "$work/err"
  rc=$?
  [ "$rc" = "$want" ] || fail "exit $rc, want $want: $* :: $(cat "$work/err")"
  python3 - "$work/out" "$want" "$1" "$holds" <<'P' || fail "$* :: $(head -c 600 "$work/out")"
import json, sys
d = json.load(open(sys.argv[1]))
assert d["exit_status"] == int(sys.argv[2]) and d["command"] == sys.argv[3], "status or command"
assert isinstance(d["diagnostics"], list)
for m in d["diagnostics"]:
    assert m["severity"] in ("error", "warning", "note") and m["message"], m
if d["exit_status"] in (1, 2, 3, 4):
    assert [m for m in d["diagnostics"] if m["severity"] == "error"], "failed without an error"
assert eval(sys.argv[4]), sys.argv[4]
P
}
first() { echo "d['diagnostics'][0]['$1']"; }
run=(run "$work/good.dhc" --backend "$backend" --inputs "x=$work/x.npy")
train=(train dhc_ssm --set input_channels=1 --set hidden_dim=8 --backend "$backend" --data "npy:$work/data" --steps 2 --batch 16 --quiet)

doc 0 "d['errors'] == 0 and d['model'] == 'M' and d['kernels_compiled'] == 0" check "$work/good.dhc"
doc 1 "d['errors'] == 1 and $(first code) == 'E0301' and $(first line) == 5 and $(first file).endswith('bad.dhc')" check "$work/bad.dhc"
grep -q 'bad.dhc:5:' "$work/err" || fail "the text is gone from stderr"
doc 0 "d['warnings'] == 2 and $(first code) == 'E0320'" check "$work/warn.dhc"
doc 1 "$(first code) == 'E0221'" check nothing_like_it
doc 1 "$(first code) == 'E0301' and 'parameters' not in d" info "$work/bad.dhc" --sizes B=2
doc 0 "d['parameters'] == 15" info "$work/good.dhc"
doc 2 "'has no size' in $(first message)" info "$work/good.dhc" --sizes Q=3
doc 0 "'func @forward' in d['text']" print "$work/good.dhc"
doc 1 "$(first code) == 'E0301'" print "$work/bad.dhc"
doc 0 "'exp' in d['text']" opt "$work/good.gir"
doc 1 "$(first code) == 'E0410' and $(first line) == 2" opt "$work/bad.gir"
doc 2 "'there is no pass' in $(first message)" opt "$work/good.gir" --pass=nothing
doc 0 "d['results'][0]['shape'] == [2, 3]" "${run[@]}" --quiet
doc 1 "'no entry' in $(first message)" "${run[@]}" --entry backward
doc 1 "'no such file' in $(first message)" run "$work/good.dhc" --backend "$backend" --inputs x=absent.npy
doc 1 "$(first code) == 'E0301'" run "$work/bad.dhc"
doc 2 "'--oracle' in $(first message)" verify "$work/good.dhc"
doc 1 "'no such file' in $(first message)" verify "$work/good.dhc" --oracle absent.safetensors
doc 0 "d['steps'] == 2 and d['loss'] > 0 and d['samples_per_s'] > 0" "${train[@]}" --out "$work/run"
doc 0 "0 <= d['accuracy'] <= 1 and len(d['predictions']) == 3" eval dhc_ssm --set input_channels=1 --set hidden_dim=8 --backend "$backend" \
  --data "npy:$work/data" --weights "$work/run/last.safetensors" --predictions 3
doc 1 "$(first severity) == 'error'" eval mlp --backend "$backend" --data "npy:$work/data" --weights "$work/run/last.safetensors"
doc 1 "$(first severity) == 'error'" train mlp --data "npy:$work/nothing"
doc 4 "'not finite' in d['diagnostics'][-1]['message']" "${train[@]}" --steps 40 --lr 1e6
doc 2 "'--batch' in $(first message)" train mlp --batch 0
doc 2 "'did you mean' in $(first message)" train mlp --batches 3
export DHC_LIBCUDA=/nonexistent/libcuda.so
doc 3 "'cuda' in $(first message)" train mlp --data npy:nothing --backend cuda
doc 2 "'show, verify or prune' in $(first message)" cache shw
doc 0 "d['entries'] >= 0" cache
doc 0 "d['dhcc']" doctor
doc 0 "d['code'] == 'E0308'" explain E0308
doc 1 "'E9' in $(first message)" explain E9
doc 2 "'unknown command' in $(first message)" chekc
if [ "$backend" = cpu ]; then
  doc 0 "d['kernels_compiled'] > 0 and d['compile_ms'] > 0" "${run[@]}" --no-cache --quiet
  doc 0 "d['kernels_compiled'] == 0 and d['kernels_reused'] > 0" "${run[@]}" --quiet
fi
finish
