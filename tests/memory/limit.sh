#!/usr/bin/env bash
# Sizes that are refused: before anything is allocated, with the largest parts and the limit.
. "$(dirname "$0")/../cli/common.sh"
cd "$work" || exit 1
dhcc=$(realpath "$dhcc")
printf 'model T() {\n  forward<B>(x: [B, 4]) -> (y: [B, B]) { return x @ x.T }\n}\n' > square.dhc
printf 'model T(n: int = 4) {\n  param w: [n, n] = zeros()\n  forward<B>(x: [B, n]) -> (y: [B, n]) { return x @ w }\n}\n' > wide.dhc
python3 - <<'P'
import struct
def npy(name, kind, shape, data):
    head = "{'descr': '%s', 'fortran_order': False, 'shape': %s, }" % (kind, shape)
    open(name, "wb").write(b"\x93NUMPY\x01\x00" + struct.pack("<H", 118) + head.ljust(117).encode() + b"\n" + data)
npy("x.npy", "<f4", "(12000, 4)", bytes(16 * 12000))
import os
os.makedirs("data/train")
npy("data/train/image.npy", "<f4", "(2000, 1, 28, 28)", bytes(4 * 784 * 2000))
npy("data/train/target.npy", "<i8", "(2000,)", bytes(8 * 2000))
P
# the process's own peak in KiB: what is refused was never there
peak() { python3 -c 'import resource, subprocess, sys
p = subprocess.run(sys.argv[1:], capture_output=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)' "$@"; }

for backend in $BACKENDS; do
  if [ "$backend" = cpu ]; then
    expect 1 "square.dhc:2:3: error[E0312]: entry 'forward' needs 550 MiB (inputs and results 549 MiB), limit is 95.4 MiB (--max-memory)" \
      "$dhcc" run square.dhc --inputs x=x.npy --max-memory 100000000
    expect 1 'optimiser 221 MiB, weights 111 MiB, gradients 111 MiB), limit is 286 MiB' "$dhcc" train mlp --set hidden=5000 --set depth=2 --data npy:data --steps 1 --quiet --max-memory 300000000
  fi
  expect 1 'limit' "$dhcc" run square.dhc --inputs x=x.npy --max-memory 100000000 --backend "$backend"
  [ "$(peak "$dhcc" run square.dhc --inputs x=x.npy --max-memory 100000000 --backend "$backend")" -lt 250000 ] || fail "$backend: too much was taken"
  expect 1 'limit' "$dhcc" train mlp --set hidden=2000 --set depth=2 --data npy:data --steps 1 --quiet --max-memory 30000000 --backend "$backend"
  expect 1 'limit' "$dhcc" info mlp --entry forward --sizes B=2147483647 --backend "$backend"
  expect 1 'larger than any tensor' "$dhcc" info dhc_ssm --entry loss --sizes B=2147483647,H=2147483647,W=2147483647 --backend "$backend"
done
# a report allocates nothing of it: a higher limit is enough to see it
case " $BACKENDS " in
*' cpu '*)
  expect 1 "entry 'forward' needs 10.2 TiB at these sizes, limit is " "$dhcc" info mlp --entry forward --sizes B=2147483647
  expect 0 'planned_bytes                11.22 TB' "$dhcc" info mlp --entry forward --sizes B=2147483647 --max-memory 20000000000000
  ;;
*) expect 1 "entry 'forward' needs 6.12 TiB at these sizes, limit is " "$dhcc" info mlp --entry forward --sizes B=2147483647 ;;
esac
# without --max-memory it is what the machine has
expect 1 'wide.dhc:2:3: error[E0312]' "$dhcc" info wide.dhc --set n=20000000 --entry forward --sizes B=1
# a limit of resources is one too
limited() { (ulimit -v 3000000; "$dhcc" info wide.dhc --set n=40000 --entry forward --sizes B=1); }
[ -n "${DHC_SANITIZED:-}" ] || expect 1 'limit is 2.9 GiB' limited
# data larger than memory: files that are mostly holes, and a table, read while others' memory is limited to less
python3 - <<'P'
import os
import struct
def holes(name, head, n, body=b""):
    os.makedirs(os.path.dirname(name), exist_ok=True)
    with open(name, "wb") as f:
        f.write(head + body)
        f.truncate(len(head) + n)
def npy(kind, shape):
    text = "{'descr': '%s', 'fortran_order': False, 'shape': %s, }" % (kind, shape)
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", 118) + text.ljust(117).encode() + b"\n"
n = 1500
holes("idx/train-images-idx3-ubyte", struct.pack(">IIII", 0x803, n, 512, 512), n << 18)
holes("idx/train-labels-idx1-ubyte", struct.pack(">II", 0x801, n), n, bytes(k % 10 for k in range(n)))
holes("large/train/image.npy", npy("|u1", "(1500, 1, 512, 512)"), n << 18)
holes("large/train/target.npy", npy("<i8", "(1500,)"), 8 * n)
holes("cifar/data_batch_1.bin", b"", 3073 * 100000)
for k in range(2, 6):
    holes("cifar/data_batch_%d.bin" % k, b"", 3073)
with open("table.csv", "w") as f:
    f.write("text,target\n" + "".join('"%d %s",%s\n' % (k, "word, " * 3300, "ab"[k % 2]) for k in range(9000)))
P
cat > small.dhc <<'M'
model Small(c: int = 1) {
  param w: [c, 10] = xavier_uniform()
  normalize<B, H, W>(pixels: u8[B, c, H, W]) -> (image: [B, c, H, W]) { return float(pixels) * (1.0 / 255.0) }
  forward<B, H, W>(image: [B, c, H, W]) -> (logits: [B, 10]) { return mean(image, axis = [2, 3]) @ w }
  loss<B, H, W>(image: [B, c, H, W], target: i64[B]) -> (loss: []) { return cross_entropy(forward(image), target) }
}
M
cat > words.dhc <<'M'
model Words() {
  param w: [256, 2] = xavier_uniform()
  loss<B, L>(tokens: u8[B, L], target: i64[B]) -> (loss: []) { return cross_entropy(mean(w[int(tokens)], axis = 1), target) }
}
M
within() { (ulimit -d 150000; "$dhcc" train "$@" --steps 3 --batch 8 --lr 0.01 --threads 2 --quiet --json); }
if [ -z "${DHC_SANITIZED:-}" ] && [[ " $BACKENDS " = *' cpu '* ]]; then # the interpreter's float64 takes more than that by itself
  for data in idx:idx npy:large 'cifar10:cifar --set c=3'; do
    # shellcheck disable=SC2086
    expect 0 $'"steps":\t3' within small.dhc --data $data
  done
  expect 0 $'"steps":\t3' within words.dhc --data csv:table.csv@64
fi
finish
