#!/usr/bin/env bash
# Training a mixture of experts: runs that were stopped or killed, reported taps, auxiliary
# losses. Dropout, augmentation and the experts' ages are all at work.
. "$(dirname "$0")/common.sh"
here=$(dirname "$0")
python3 "$here/data.py" "$work/data"
# A schedule without `steps` in it, so that a run cut short is the same run.
sed -e 's/lr(step, steps) = .*/lr(step, steps) = 1e-3/' "$here/../../models/dhc_jamba.dhc" > "$work/m.dhc"
how= # exec: in place of the shell, so that a kill meets the training and nothing else
run() {
  $how "$dhcc" train "$work/m.dhc" --preset nano --set input_channels=1 --set hidden_dim=4 --set tokens=grid --set mamba_ratio=1 \
    --data "npy:$work/data" --batch 16 --epochs 9 "$@"
}
same() {
  python3 "$here/same_state.py" "$work/whole/checkpoint-000000020.safetensors" "$work/$1/checkpoint-000000020.safetensors" || fail "$2"
}
run --steps 20 --quiet --out "$work/whole" || fail "20 steps"

run --steps 9 --quiet --out "$work/parts" && run --steps 20 --quiet --out "$work/parts" --resume || fail "9 steps and 11 more"
same parts "a resumed run differs"
# what is reported, too: all columns but those of time and of validations, of which the parts have one more
columns() { tail -n +2 "$work/$1/metrics.csv" | cut -d, -f1-6,11-; }
[ "$(columns whole | wc -l)" = 20 ] || fail "not a row a step"
[ "$(columns whole)" = "$(columns parts)" ] || fail "a resumed run reports other numbers"

# Killed at any moment, resumed, killed again.
for step in 4 10 16; do
  more=$([ -d "$work/killed" ] && echo --resume)
  # shellcheck disable=SC2086
  how=exec run --steps 20 --save-every 2 --quiet --out "$work/killed" $more &
  pid=$!
  for _ in $(seq 600); do
    [ -e "$work/killed/checkpoint-$(printf %09d $step).safetensors" ] && break
    kill -0 $pid 2>/dev/null || break
    sleep 0.05
  done
  kill -KILL $pid 2>/dev/null
  wait $pid 2>/dev/null
done
run --steps 20 --save-every 2 --quiet --out "$work/killed" --resume || fail "after SIGKILL"
same killed "a run that was killed differs"

run --steps 20 --quiet --threads 3 --out "$work/threads" || fail "three threads"
same threads "another number of threads gives other bits"
run --steps 20 --quiet --set 'report=[]' --out "$work/silent" || fail "nothing reported"
same silent "what is reported changes the run"

# Tokens per expert: every choice of every token counts, in every routed layer and step.
python3 - "$work/whole" <<'EOF' || fail "tokens per expert"
import csv, json, sys
rows = list(csv.DictReader(open(sys.argv[1] + "/metrics.csv")))
lines = [json.loads(l) for l in open(sys.argv[1] + "/metrics.jsonl")]
assert len(rows) == len(lines) and int(rows[-1]["step"]) == 20, len(rows)
for row, line in zip(rows, lines):
    for layer in (1, 3):
        name = "jamba_model.layers.%d.ffn.tokens_per_expert" % layer
        counts = [int(x) for x in row[name].split()]
        assert counts == line[name] and len(counts) == 4, (row, line)
        batch = sum(counts) // 8  # 4 cells an image, 2 choices a cell
        assert sum(counts) == 8 * batch and 1 <= batch <= 16, counts
EOF
expect 0 'tokens_per_expert max/mean ' run --steps 1
expect 0 'router_z ' run --steps 1 --set 'report="*.router_z"'
expect 0 "warning: report: no tap of 'loss' matches" run --steps 1 --set 'report="*.router"'
expect 1 'report must be a string, got the int 3' run --steps 1 --set report=3
head -1 "$work/silent/metrics.csv" | grep -q tokens && fail "nothing was to be reported"

# Both losses take part by default, at 0.001, and can be switched off.
loss() { # settings: the loss of the first step
  rm -rf "$work/one"
  run --steps 1 --quiet --out "$work/one" "$@" || fail "one step $*"
  sed -n 2p "$work/one/metrics.csv" | cut -d, -f3
}
python3 - "$(loss)" "$(loss --set auxiliary=false)" "$(loss --set load_balance=0)" "$(loss --set load_balance=0 --set router_z=0)" \
  "$(loss --set load_balance=0.001 --set router_z=0.001)" <<'EOF' || fail "auxiliary losses"
import sys
both, off, no_balance, neither, explicit = map(float, sys.argv[1:])
assert both == explicit and off == neither and off < no_balance < both, sys.argv
# two layers, four experts: log-sum-exp about log 4; the spread of the mean probabilities small
assert 0.5 * 2 * 1.386e-3 < no_balance - off < 2 * 2 * 1.386e-3, sys.argv
assert 0 < both - no_balance < 2e-3, sys.argv
EOF
finish
