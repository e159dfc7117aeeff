#!/usr/bin/env bash
# Several ranks on the stand-in device, which sum through the stand-in NCCL: two and four train as one does, agree on everything,
# end together, whatever ends one of them.
# $1: dhcc with the stand-in device, $2: the stand-in NCCL
. "$(dirname "$0")/../cli/common.sh"
export DHC_LIBNCCL=$2 STAND_IN_NCCL_FOLDER=$work
python3 "$(dirname "$0")/../cli/data.py" "$work/data"
model=(dhc_ssm --set input_channels=1 --set hidden_dim=8 --data "npy:$work/data" --batch 16)
train() { timeout 120 "$dhcc" train "${model[@]}" --quiet "$@"; }
column() { cut -d, -f"$2" "$work/$1/metrics.csv"; }

# how far two runs' losses are apart, relative
near() { # A B LIMIT
  paste -d' ' <(column "$1" 3) <(column "$2" 3) | awk -v most="$3" 'NR > 1 && ($1 - $2 > most * $1 || $2 - $1 > most * $1) { bad = 1 } END { exit bad || NR < 2 }'
}
near_last() { paste -d' ' <(column "$1" 3 | tail -1) <(column "$2" 3 | tail -1) | awk '{ exit !($1 - $2 < 1e-5 * $1 && $2 - $1 < 1e-5 * $1) }'; }
train --steps 20 --out "$work/one" || fail "one rank"
train --steps 20 --gpus 2 --out "$work/two" || fail "two ranks"
train --steps 20 --gpus 4 --check-ranks 1 --out "$work/four" || fail "four ranks"
train --steps 20 --gpus 2 --out "$work/again" || fail "two ranks again"
near one two 1e-5 || fail "two ranks have other losses than one"
near one four 1e-5 || fail "four ranks have other losses than one"
cmp -s "$work/two/last.safetensors" "$work/again/last.safetensors" || fail "two runs of two ranks differ"
# N ranks give the bits of N parts of a batch one after the other: weights, losses, accuracies, validations
same() { # A B
  cmp -s "$work/$1/last.safetensors" "$work/$2/last.safetensors" && cmp -s <(cut -d, -f1-6,9,10 "$work/$1/metrics.csv") <(cut -d, -f1-6,9,10 "$work/$2/metrics.csv")
}
train --steps 20 --accumulate 2 --out "$work/turns2" && train --steps 20 --accumulate 4 --out "$work/turns4" || fail "parts in turn"
same two turns2 || fail "two ranks and two parts in turn differ"
same four turns4 || fail "four ranks and four parts in turn differ"
cmp -s "$work/one/last.safetensors" "$work/turns2/last.safetensors" && fail "parts in turn are one batch"
train --steps 20 --gpus 2 --accumulate 2 --out "$work/both" || fail "two ranks of two parts"
near one both 1e-5 || fail "two ranks of two parts have other losses than one"
[ "$(column one 4)" = "$(column two 4)" ] || fail "two ranks have another accuracy than one"
[ "$(column one 5)" = "$(column four 5)" ] || fail "four ranks have other learning rates than one"

# draws are those of the whole batch: dropout and augmentation see the same, however many there are
cat > "$work/noisy.dhc" <<'M'
import std/nn
model Noisy() {
  param w: [64, 10] = xavier_uniform()
  normalize<B>(image: u8[B, 1, 8, 8]) -> (image: [B, 1, 8, 8]) { return float(image) / 255.0 }
  augment<B>(image: [B, 1, 8, 8]) -> (image: [B, 1, 8, 8]) { return random_flip(image) }
  loss<B>(image: [B, 1, 8, 8], target: i64[B]) -> (loss: []) {
    return mean(cross_entropy(dropout(reshape(image, [B, 64]), 0.5) @ w, target))
  }
}
M
noisy() { timeout 120 "$dhcc" train "$work/noisy.dhc" --data "npy:$work/data" --batch 16 --lr 0.1 --quiet "$@"; }
noisy --steps 20 --out "$work/n1" && noisy --steps 20 --gpus 2 --out "$work/n2" && noisy --steps 20 --gpus 3 --out "$work/n3" || fail "dropout"
noisy --steps 20 --accumulate 3 --out "$work/t3" || fail "dropout in turn"
same n3 t3 || fail "three ranks and three parts in turn drop other elements"
near n1 n2 1e-5 || fail "two ranks drop other elements"
near n1 n3 1e-5 || fail "three ranks drop other elements" # parts of 6, 5 and 5

# losses, optimisers and turns of groups
python3 - "$work/pairs/train" <<'P'
import os, random, struct, sys
os.makedirs(sys.argv[1])
r = random.Random(1)
for name in ("noise", "real"):
    h = "{'descr': '<f4', 'fortran_order': False, 'shape': (24, 3), }".ljust(117) + "\n"
    open(f"{sys.argv[1]}/{name}.npy", "wb").write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(h)) + h.encode() + struct.pack("<72f", *[r.gauss(0, 1) for _ in range(72)]))
P
turns() { timeout 120 "$dhcc" train "$(dirname "$0")/../language_gaps/05_turns.dhc" --data "npy:$work/pairs" --val-fraction 0 --batch 8 --steps 9 --quiet "$@"; }
turns --gpus 2 --check-ranks 1 --out "$work/g2" && turns --accumulate 2 --out "$work/h2" || fail "losses of groups"
same g2 h2 || fail "two ranks and two parts in turn differ in losses of groups"

# a folder goes on with another number of ranks, and a stop is one of all
train --lr 1e-3 --steps 20 --out "$work/lr" || fail "one rank, constant rate"
train --lr 1e-3 --steps 10 --gpus 4 --out "$work/on" || fail "ten steps of four"
train --lr 1e-3 --steps 20 --gpus 2 --out "$work/on" --resume --allow-changed steps || fail "two go on from four"
[ "$(tail -1 "$work/lr/metrics.csv" | cut -d, -f1,2)" = "$(tail -1 "$work/on/metrics.csv" | cut -d, -f1,2)" ] || fail "a run that went on ends elsewhere"
near_last lr on || fail "a run that went on from four to two ranks"
begin() { # OUT OPTIONS...: in the background, up to its sixth step
  local out=$1
  shift
  "$dhcc" train "${model[@]}" --lr 1e-3 --quiet --steps 1000000 --out "$out" "$@" 2> "$work/err" &
  pid=$!
  for _ in $(seq 400); do
    [ -s "$out/metrics.csv" ] && [ "$(wc -l < "$out/metrics.csv")" -gt 6 ] && return
    sleep 0.05
  done
  fail "$out does not begin: $(cat "$work/err")"
}
begin "$work/stopped" --gpus 2
kill -TERM "$pid"
wait "$pid"
[ $? = 143 ] || fail "a stopped run's status: $(cat "$work/err")"
grep -q 'stopped at step .*go on with --resume' "$work/err" || fail "what a stopped run says: $(cat "$work/err")"

# a rank that is killed or hangs, whichever, ends all with a line that names it; the run goes on
lose() { # SIGNAL RANK TEXT OPTIONS...
  local signal=$1 rank=$2 text=$3 rc ranks
  shift 3
  rm -rf "$work/lost"
  begin "$work/lost" --save-every 3 --gpus 3 "$@"
  ranks=$(pgrep -P "$pid" | sort -n)
  kill -"$signal" "$(echo $ranks | cut -d' ' -f$((rank + 1)))"
  wait "$pid"
  rc=$?
  [ $rc = 3 ] || fail "rank $rank by $signal: status $rc"
  [ "$(cat "$work/err")" = "dhcc: error: $text; all ranks have ended, the last checkpoint is whole: go on with --resume" ] ||
    fail "rank $rank by $signal says: $(cat "$work/err")"
  for p in $ranks; do kill -0 "$p" 2>/dev/null && fail "rank $p is still there"; done
  expect 0 '' train --lr 1e-3 --steps "$(($(column lost 1 | tail -1) + 5))" --gpus 2 --out "$work/lost" --resume --allow-changed steps
}
lose KILL 0 'rank 0 was ended by signal 9 (Killed)'
lose KILL 2 'rank 2 was ended by signal 9 (Killed)'
lose STOP 1 'rank 1 has not answered for 2 s' --rank-timeout 2
finish
