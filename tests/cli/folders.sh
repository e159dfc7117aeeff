#!/usr/bin/env bash
# The folder of a run: used ones are refused, --overwrite loses nothing until the new run works,
# --resume names all that differs, nobody else's checkpoint is taken or removed, every fallback is said.
. "$(dirname "$0")/common.sh"
set -m # or jobs in the background ignore SIGINT
here=$(cd "$(dirname "$0")" && pwd)
python3 "$here/data.py" "$work/data" 64
python3 "$here/data.py" "$work/moved" 64
cd "$work" || exit 1
sed -e 's/lr(step, steps) = .*/lr(step) = 1e-3/' "$here/../../models/mlp.dhc" > m.dhc
by= # exec: in place of the shell, so that a kill meets the training
train() { $by "$dhcc" train m.dhc --set hidden=8 --set height=8 --set width=8 --data npy:data --batch 16 --threads 1 --quiet --out o "$@"; }
sums() { (cd "${1:-o}" && find . -type f -exec sha256sum {} + | sort); }
id() { sed -n 's/.*"run_id":[[:space:]]*"\([0-9a-f]*\)".*/\1/p' "${1:-o}/config.json"; }

# ---- a used folder ----
train --epochs 2 --seed 1 || fail "train"
first=$(sums)
old=$(id)
[ ${#old} = 32 ] || fail "config.json has no run id"
grep -q "\"command\":.*dhcc train m.dhc --set hidden=8 .*--seed 1" o/config.json || fail "config.json has no command"
python3 - "$old" <<'P' || fail "the checkpoint does not say whose it is"
import json, struct, sys
raw = open("o/checkpoint-000000008.safetensors", "rb").read()
meta = json.loads(raw[8 : 8 + struct.unpack("<Q", raw[:8])[0]])["__metadata__"]
config = json.load(open("o/config.json"))
assert meta["dhc.run"] == sys.argv[1] and meta["dhc.model"] == config["model_hash"]
assert meta["run.seed"] == "1" and meta["run.optimizer"] == "adamw" and meta["run.weight_decay"] == "0.01"
assert meta["run.command"] == config["command"] and "--seed 1" in meta["run.command"]
P
expect 1 'o: holds a run already (checkpoint-000000008.safetensors): --resume goes on with it, --overwrite replaces it' train --seed 2
expect 2 'exclude each other' train --resume --overwrite
expect 2 'needs --out DIR' "$dhcc" train m.dhc --data npy:data --overwrite
rm -rf one
for f in config.json metrics.csv metrics.jsonl best.safetensors last.safetensors; do
  mkdir one
  : > one/$f
  expect 1 "one: holds a run already ($f)" train --out one
  [ "$(ls one)" = "$f" ] || fail "files beside $f"
  rm -r one
done
expect 1 'absent: no such file or directory' train --resume --out absent
[ ! -e absent ] || fail "--resume made a folder"

# ---- what a run kept to validate with is what eval validates on ----
train --epochs 1 --val-fraction 0.25 --out kept || fail "train with a share kept"
expect 0 "val: 16 examples, loss $(tail -1 kept/metrics.csv | cut -d, -f9 | xargs printf %.4f)," "$dhcc" eval kept --split val
expect 0 'val: 40 examples' "$dhcc" eval kept --split val --data npy:moved
expect 0 'val: 40 examples' "$dhcc" eval o --split val

# ---- --overwrite: nothing goes before the first step is done ----
expect 1 '' train --overwrite --data npy:nowhere
expect 1 '' train --overwrite --set hidden=none
expect 1 'outside 0..2' train --overwrite --set output_dim=3
sed -e 's/= normal.*//; s/dropout(relu/dropout(sqrt(-1.0 - relu/; s/(x)), self/(x))), self/' m.dhc > bad.dhc
expect 4 'step 1: ' "$dhcc" train bad.dhc --set hidden=8 --set height=8 --set width=8 --data npy:data --quiet --out o --overwrite
for poll in 1 2; do DHC_STOP_AT_POLL=$poll expect 130 'stopped before the first step; o is as it was' train --overwrite --seed 5; done
[ "$first" = "$(sums)" ] || fail "--overwrite lost files of the old run to one that did not start"
train --overwrite --seed 5 --epochs 1 || fail "overwrite"
[ "$(id)" != "$old" ] && [ ! -e o/checkpoint-000000008.safetensors ] && [ -e o/checkpoint-000000004.safetensors ] || fail "overwrite: $(ls o)"
[ "$(wc -l < o/metrics.csv)" = 5 ] || fail "overwrite: metrics of two runs"

# ---- one training at a time ----
by=exec train --out busy --epochs 100000 &
pid=$!
for _ in $(seq 300); do [ -e busy/metrics.csv ] && break; sleep 0.05; done
for how in '' --resume --overwrite; do expect 3 'busy: another process writes there' train --out busy --epochs 100000 $how; done
kill -KILL $pid
wait $pid 2> /dev/null
train --out busy --epochs 1 --overwrite || fail "the lock outlived its process"

# ---- what differs, by name and with both values ----
rm -rf o && train --epochs 1 --seed 1 --lr 0.01 --limit 48 || fail "train"
before=$(sums)
differs() { expect 1 "$1" train --epochs 1 --resume "${@:2}"; [ "$before" = "$(sums)" ] || fail "refused, but changed: ${*:2}"; }
like=(--seed 1 --lr 0.01 --limit 48)
differs 'seed: 1 in the run, 2 now (' --seed 2 --lr 0.01 --limit 48
differs '--allow-changed seed)' --seed 2 --lr 0.01 --limit 48
differs 'seed: 1 in the run, 0 now; lr: 0.01 in the run, 0.02 now' --lr 0.02 --limit 48
differs 'lr: 0.01 in the run, schedule 1e-3 now' --seed 1 --limit 48
differs 'batch: 16 in the run, 8 now' "${like[@]}" --batch 8
differs 'clip: 1 in the run, 0.5 now' "${like[@]}" --clip 0.5
differs 'limit: 48 in the run, 0 now' --seed 1 --lr 0.01
differs 'dropout: 0.1 in the run, 0.2 now' "${like[@]}" --set dropout=0.2
differs 'shuffle: on in the run, off now' "${like[@]}" --no-shuffle
differs 'backend: cpu in the run, interp now' "${like[@]}" --backend interp
differs 'this model is ' "${like[@]}" --set hidden=9
differs 'hidden: 8 in the run, 9 now' "${like[@]}" --set hidden=9
printf 'x' | dd of=moved/train/image.npy bs=1 seek=1000 conv=notrunc 2>/dev/null
differs 'data: npy:data in the run, npy:moved now' "${like[@]}" --data npy:moved
sed 's/optimizer = .*/optimizer = sgd(momentum = 0.9)/' m.dhc > sgd.dhc
sed 's/weight_decay = 0.01/weight_decay = 0.02/' m.dhc > decay.dhc
sed 's/epochs = 5/epochs = 5\n  ema = 0.9/' m.dhc > ema.dhc
differs_in() { expect 1 "$2" "$dhcc" train "$1" --set hidden=8 --set height=8 --set width=8 --data npy:data --batch 16 --quiet --out o --epochs 1 --resume "${like[@]}"; }
differs_in sgd.dhc 'optimizer: adamw in the run, sgd now ('
differs_in decay.dhc 'weight_decay: 0.01 in the run, 0.02 now'
sed 's/relu/tanh/' m.dhc > tanh.dhc # the same parameters
differs_in tanh.dhc 'model: MLP ('
sed 's/^model/# the model\n\nmodel/' m.dhc > comment.dhc
differs_in ema.dhc 'ema: 0 in the run, 0.9 now'
expect 2 "a run has no 'lrr' (did you mean 'lr'?)" train --epochs 1 --resume "${like[@]}" --allow-changed lrr
expect 2 '--allow-changed: only a run that goes on' train --out fresh --allow-changed lr
expect 1 ': --resume: the run has done 3 steps, asked for are 2 in all' train --epochs 1 --steps 2 --resume "${like[@]}"
expect 0 '' "$dhcc" train comment.dhc --set hidden=8 --set height=8 --set width=8 --data npy:data --batch 16 --quiet --out o --epochs 1 --resume "${like[@]}"
# longer runs of the same rates are the same run; the same data elsewhere are the same data
cp -r data elsewhere
expect 0 '' train --epochs 2 --resume "${like[@]}" --data npy:elsewhere
expect 0 '' "$dhcc" train sgd.dhc --set hidden=8 --set height=8 --set width=8 --data npy:data --batch 16 --quiet --out o --epochs 3 --resume \
  --seed 2 --lr 0.5 --limit 48 --allow-changed optimizer,seed,lr
grep -q '"seed":[[:space:]]*2' o/config.json && grep -q '"optimizer":[[:space:]]*"sgd"' o/config.json || fail "config.json names what is not used"
train --out s --epochs 1 "${like[@]}" && cp -r s p
"$dhcc" train mlp --set hidden=8 --set height=8 --set width=8 --data npy:data --batch 16 --quiet --out c --epochs 1 || fail "cosine"
expect 1 'epochs: 1 in the run, 2 now' "$dhcc" train mlp --set hidden=8 --set height=8 --set width=8 --data npy:data --batch 16 --quiet --out c --epochs 2 --resume

# ---- another run's checkpoints ----
train --out b --epochs 3 --seed 9 "${like[@]:2}" || fail "train"
cp b/checkpoint-000000009.safetensors s/
expect 0 'warning: s/checkpoint-000000009.safetensors: is a checkpoint of another run' train --out s --epochs 2 "${like[@]}" --resume
cmp -s s/checkpoint-000000009.safetensors b/checkpoint-000000009.safetensors || fail "another run's checkpoint was changed"
[ -e s/checkpoint-000000006.safetensors ] || fail "did not go on from its own"
expect 0 'is a checkpoint of another run; renamed to ' train --out s --epochs 3 "${like[@]}" --resume
cmp -s s/checkpoint-000000009.safetensors.aside b/checkpoint-000000009.safetensors || fail "another run's checkpoint is gone"
rm -rf q && cp -r b q && cp s/config.json q/
expect 1 "q: config.json names a run of which there is no checkpoint; those that lie there are another's" train --out q --epochs 3 "${like[@]}" --resume
cp -r b r && echo '{' > r/config.json
expect 0 'warning: r/config.json: names no run; checkpoints say whose the folder is' train --out r --epochs 3 --seed 9 "${like[@]:2}" --resume
rm p/config.json
cp b/checkpoint-000000009.safetensors p/
expect 1 'p: has checkpoints of the runs ' train --out p --epochs 3 "${like[@]}" --resume

# ---- fallbacks ----
for kind in folder pipe link torn; do
  rm -rf f
  train --out f --epochs 2 "${like[@]}" --save-every 3 || fail "train"
  newest=f/checkpoint-000000006.safetensors
  cp -r f whole
  case $kind in
    torn) truncate -s 1000 $newest; says='error: ' ;;
    folder) rm $newest; mkdir $newest; says='is a folder, no regular file (trying the one before)' ;;
    pipe) rm $newest; mkfifo $newest; says='is a named pipe, no regular file (trying the one before)' ;;
    link) rm $newest; ln -s nowhere $newest; says='is a link to nothing (trying the one before)' ;;
  esac
  expect 0 "warning: $newest: $says" timeout 60 "$dhcc" train m.dhc --set hidden=8 --set height=8 --set width=8 --data npy:data --batch 16 \
    --threads 1 --quiet --out f --epochs 2 "${like[@]}" --save-every 3 --resume
  cmp -s whole/last.safetensors f/last.safetensors || fail "$kind: other weights after the fallback"
  rm -rf whole
done

# ---- descriptors ----
for closed in '<&-' '>&-' '2>&-' '<&- >&- 2>&-'; do
  rm -rf d
  eval "train --out d --epochs 2 ${like[*]} $closed" || fail "with $closed"
  for f in metrics.csv metrics.jsonl config.json; do
    ! grep -q 'epoch 1/' d/$f || fail "$closed: progress in $f"
  done
  python3 -c 'import json; [json.loads(l) for l in open("d/metrics.jsonl")]; json.load(open("d/config.json"))' || fail "$closed: metrics.jsonl"
done
rm -rf d
"$dhcc" train m.dhc --set hidden=8 --set height=8 --set width=8 --data npy:data --batch 16 --threads 1 --out d --epochs 2 2>&- || fail "2>&-"
[ "$(wc -l < d/metrics.csv)" = 9 ] && ! grep -q loss\  d/metrics.csv || fail "progress in metrics.csv"
rc=0
"$dhcc" explain >&- 2> err || rc=$?
[ $rc = 3 ] && grep -q 'standard output: write failed' err || fail "a closed stdout was not said: $rc"

# ---- nobody reads the progress any more: the run goes on ----
rm -rf g
"$dhcc" train m.dhc --set hidden=8 --set height=8 --set width=8 --data npy:data --batch 1 --threads 1 --out g --epochs 3 2>&1 | true
[ -e g/last.safetensors ] || fail "a closed pipe ended the run"
finish
