#!/usr/bin/env bash
# Stop signals in every phase: the process ends soon with 130, 143 or 129, a checkpoint that is there
# is whole, and the run goes on from it. A closed stdout ends a command without a word.
. "$(dirname "$0")/common.sh"
set -m # or jobs in the background ignore SIGINT until they ask for it
python3 "$(dirname "$0")/data.py" "$work/data"
model=(dhc_ssm --set input_channels=1 --set hidden_dim=8)
train=(train "${model[@]}" --data "npy:$work/data" --batch 1 --epochs 500 --quiet)

# stop SIGNAL STATUS DELAY command...: sends it after DELAY seconds
stop() {
  local signal=$1 want=$2 delay=$3 rc pid begin
  shift 3
  "$@" > "$work/said" 2>&1 &
  pid=$!
  sleep "$delay"
  begin=$(date +%s%N)
  kill -"$signal" "$pid" 2>/dev/null
  wait "$pid"
  rc=$?
  [ "$rc" = "$want" ] || fail "$signal after $delay s: exit $rc, want $want: $* :: $(cat "$work/said")"
  [ $((($(date +%s%N) - begin) / 1000000000)) -lt 20 ] || fail "$signal after $delay s: took too long"
}

for delay in 0.01 0.05 0.1 0.3 1 2; do # parsing, compiling, first and later steps
  rm -rf "$work/out" "$work/cold"
  XDG_CACHE_HOME=$work/cold stop INT 130 $delay "$dhcc" "${train[@]}" --out "$work/out" --save-every 7
  newest=$(find "$work/out" -name 'checkpoint-*' 2>/dev/null | sort | tail -1)
  [ -n "$newest" ] || continue
  done=${newest##*checkpoint-}
  "$dhcc" "${train[@]}" --steps $((10#${done%.safetensors} + 1)) --allow-changed steps --out "$work/out" --resume ||
    fail "the checkpoint after $delay s cannot be used"
done
stop TERM 143 1 "$dhcc" "${train[@]}" --out "$work/term"
[ -n "$(find "$work/term" -name 'checkpoint-*')" ] || fail "SIGTERM left no checkpoint"
stop HUP 129 1 "$dhcc" "${train[@]}" --out "$work/hup"
[ -n "$(find "$work/hup" -name 'checkpoint-*')" ] || fail "SIGHUP left no checkpoint"
# nohup: a hangup that is ignored is none
(trap '' HUP; exec "$dhcc" "${train[@]}" --out "$work/nohup") > "$work/said" 2>&1 &
pid=$!
sleep 1
kill -HUP $pid
sleep 0.3
kill -TERM $pid
wait $pid
rc=$?
[ $rc = 143 ] || fail "a hangup under nohup: exit $rc"
# the second signal does not wait; what was saved before is whole
"$dhcc" "${train[@]}" --save-every 1 --out "$work/twice" > "$work/said" 2>&1 &
pid=$!
for _ in $(seq 300); do [ -n "$(find "$work/twice" -name 'checkpoint-*' 2>/dev/null)" ] && break; sleep 0.05; done
kill -INT $pid
kill -INT $pid 2>/dev/null
wait $pid
rc=$?
[ $rc = 130 ] || fail "two signals: exit $rc"
newest=$(find "$work/twice" -name 'checkpoint-*' | sort | tail -1)
done=${newest##*checkpoint-}
"$dhcc" "${train[@]}" --steps $((10#${done%.safetensors} + 1)) --allow-changed steps --out "$work/twice" --resume || fail "after two signals"
python3 "$(dirname "$0")/data.py" "$work/long" 20000 # so that evaluation takes a while
stop INT 130 0.5 "$dhcc" eval "${model[@]}" --data "npy:$work/long" --split train --weights "$work/term/last.safetensors" --batch 1 --backend interp
"$dhcc" "${train[@]}" --out "$work/json" --json > "$work/doc" 2>/dev/null &
pid=$!
sleep 1
kill -INT $pid
wait $pid
[ "$(number exit_status < "$work/doc")" = 130 ] || fail "a stopped run's document: $(cat "$work/doc")"

# a file that somebody cuts short while a training reads it for the first time (what was read is kept)
awk 'BEGIN { print "a,b,target"; for (i = 0; i < 400000; i++) print i % 7 ",1," i % 2 }' > "$work/cut.csv"
cat > "$work/cut.dhc" <<'M'
import std/nn
model M() {
  param w: [2, 2] = ones()
  loss<B>(x: [B, 2], target: i64[B]) -> (loss: []) { return mean(cross_entropy(x @ w, target)) }
}
M
"$dhcc" train "$work/cut.dhc" --data "csv:$work/cut.csv" --batch 1 --epochs 1 --out "$work/cut" --quiet > "$work/said" 2>&1 &
pid=$!
for _ in $(seq 300); do [ "$(cat "$work/cut/metrics.csv" 2>/dev/null | wc -l)" -gt 1 ] && break; sleep 0.05; done
truncate -s 8000 "$work/cut.csv"
wait $pid
rc=$?
[ $rc = 3 ] || fail "a file cut short: exit $rc, want 3"
[ "$(cat "$work/said")" = "$work/cut.csv: error: was cut short, or its disk failed, while it was read" ] || fail "a file cut short: $(cat "$work/said")"

"$dhcc" print dhc_jamba --stage=graph 2> "$work/err" | head -1 > /dev/null
[ ! -s "$work/err" ] || fail "a closed pipe: $(cat "$work/err")"
expect 3 'standard output: write failed' sh -c "'$dhcc' explain > /dev/full"
finish
