#!/usr/bin/env bash
# Messages of the command line, of its options' values and of the files they name, one row each: exit status, then the
# whole line, word for word. Where a run says more (notes in front), the line is one of them.
own_store=1
. "$(dirname "$0")/common.sh"
python3 "$(dirname "$0")/message_files.py" "$work" || fail "the files could not be made"
cd "$work" || exit 1
cat > trained.dhc <<'M'
import std/nn
model Trained(n: int = 4) {
  param w: [4] = ones()
  forward<B>(x: [B, 4]) -> (y) { return x * w }
  loss<B>(x: [B, 4]) -> (loss: []) { return mean(x * w) }
}
M
cat > unlearned.dhc <<'M'
import std/nn
model Unlearned() {
  param w: [300] = ones()
  forward<B, L>(tokens: i32[B, L], more: i32[B, L]) -> (logits) { return gather(w, tokens) + gather(w, more) }
}
M
with=() # what stands in the environment of the next commands
row() {
  local want=$1 line=$2 rc
  shift 2
  timeout 30 env "${with[@]}" "$dhcc" "$@" > said.txt 2>&1 < /dev/null
  rc=$?
  [ "$rc" = "$want" ] || fail "exit $rc, want $want: $*"
  grep -Fxq -e "dhcc: $line" said.txt || grep -Fxq -e "$line" said.txt || fail "$*"$'\n'"   want: $line"$'\n'"   said: $(head -3 said.txt)"
}
# The same with a pattern (a basic one) for the whole line, where times and sizes stand in it.
like() {
  local want=$1 line=$2 rc
  shift 2
  timeout 30 env "${with[@]}" "$dhcc" "$@" > said.txt 2>&1 < /dev/null
  rc=$?
  [ "$rc" = "$want" ] || fail "exit $rc, want $want: $*"
  grep -axq -e "$line" said.txt || fail "$*"$'\n'"   want: $line"$'\n'"   said: $(head -3 said.txt)"
}
# commands and their options
row 2 'error: unknown option --nothing; dhcc --help lists them' --nothing
row 2 'error: --clip: needs a finite number from 0 to 1e+30, got "nan"' train mlp --clip nan
row 2 'error: --set: needs KEY=VALUE,VALUE…, got "=1,2"' sweep mlp --set =1,2
row 2 'error: unknown command nothing; dhcc --help lists them' nothing
row 1 '  hint: a model is a .dhc file or one of dhc_jamba, dhc_ssm, lstm, mlp, rl_actor_critic, rl_policy, rl_ssm_policy, rl_value, seq' check zzzzqqq
row 2 'error: --help takes no value' check mlp --help=1
row 2 'error: --data: needs a value (SPEC)' train mlp --data
row 2 'error: unknown option --nothing; dhcc check --help lists them' check mlp --nothing
row 1 'error: explain: no error code E9999; dhcc explain lists them' explain E9999
row 1 'error: explain: no error code E030 (did you mean E0301?)' explain E030
row 2 'error: explain: one code, or --kernels MODEL A B' explain E0300 E0301
row 2 'error: explain --kernels: needs MODEL A B: variants as key=value,... or a name, . for the model itself' explain --kernels mlp
row 2 'error: cache: needs show, verify or prune, got "nope"' cache nope
row 2 'error: --dims: needs whole numbers of 63 bits separated by commas, got "a"' kernel x.spec --dims a
row 2 'error: check: usage: dhcc check MODEL [options]' check mlp a
row 2 'error: --sizes: needs NAME=N with N from 1 to 2147483647, got "B=0"' info mlp --sizes B=0
row 2 'error: --set: needs KEY=VALUE, got "a"' check mlp --set a
row 2 'error: print: too many arguments, from "a" on (--diff compares variants)' print mlp a b
row 2 'error: print --diff: needs MODEL A B: variants as key=value,... or a name, . for the model itself' print mlp --stage=fused --diff mlp
row 2 'error: --diff: needs --stage=plan, grad.plan or train.plan, got "graph"' print --diff mlp . depth=1 --backend interp --stage=graph
row 2 'error: --backend interp: it has no kernels to compare' print --diff mlp . depth=1 --backend interp
row 2 'error: --tuning: --backend interp has no kernels, so no schedules' run mlp --backend interp --tuning any.tuning
row 2 'error: --check-bounds: needs --backend cpu, whose kernels can be checked' run mlp --check-bounds --backend interp
# leaving parts out
row 2 'error: --ablate: only runs leave units out, not gradients or training' run mlp --backend interp --ablate layers.1 --grad
row 2 'error: --ablate: needs a value (PART), got an empty one' run mlp --backend interp --ablate ''
row 2 'error: --ablate: needs PATH, KIND or LAYER=expert:NUMBER, got "a=b"' run mlp --backend interp --ablate a=b
row 2 'error: ablate: needs --data SPEC and --weights FILE' ablate mlp
# objects
row 2 'error: build: needs -o FILE.o, FILE.a or FILE.so' build mlp
row 2 'error: -o x.txt: needs a name that ends in .o, .a or .so' build mlp -o x.txt
row 2 'error: --emit: needs object or c, got "nothing"' build mlp -o x.o --emit nothing
row 2 'error: --emit c: needs --header, which the source includes' build mlp -o x.c --emit c
row 2 'error: --weights-file w: needs --weights' build mlp -o x.o --weights-file w
row 2 'error: build: objects are made by --backend cpu, not interp' build mlp -o x.o --backend interp
row 2 'error: --bind: needs NAME=N with N from 1 to 2147483647, got "B"' build mlp -o x.o --bind B
row 2 "error: --bind: 'B' is given twice" build mlp -o x.o --bind B=2,B=3
row 2 "error: --bind: no entry of the object has a size 'Q'" build mlp -o x.o --bind Q=2
row 2 'error: --entry forward: given twice' build mlp -o x.o --entry forward --entry forward
row 1 "error: model MLP has no entry 'nope'" build mlp -o x.o --entry nope
row 2 'error: --selftest: needs --weights' build mlp -o x.o --selftest 1
row 2 "error: --max-ram: size B of entry 'forward' is not fixed (--bind)" build mlp -o x.o --max-ram 10
row 2 'error: bench: needs --object FILE.so, or a model' bench
row 2 'error: bench: --object is of objects, which are called without a model' bench mlp --object x.so
row 2 'error: bench: --rate is of objects, which are called without a model' bench mlp --rate 100
row 2 'error: bench: --seconds is of objects, which are called without a model' bench mlp --seconds 1
row 2 'error: bench: --prefault is of objects, which are called without a model' bench mlp --prefault
# generation
row 1 "error: 'forward' of Unlearned takes 'tokens' and 'more': only a model of one sequence of tokens can generate" generate unlearned.dhc --prompt a --backend interp
row 1 "error: 'forward' of Trained takes 'x', no batch of sequences (i64[B, L]): only a model of tokens can generate" generate trained.dhc --prompt a
row 1 "error: 'forward' of MLP takes 'image', no batch of sequences (i64[B, L]): only a model of tokens can generate" generate mlp --prompt a --backend interp
row 1 'note: no --weights, using initial weights of seed 0' generate unlearned.dhc --prompt a --backend interp
row 2 'error: --prompt: is empty; generation needs a first token' generate trained.dhc --prompt ''
# values of a run
row 1 'note: no s yet, the states begin anew' run trained.dhc --inputs x=x.npy --state s --backend interp
row 1 'error: there is no state to save: no streaming entry has run' run trained.dhc --inputs x=x.npy --state s --backend interp
row 2 'error: --state and --repeat: every run would carry the state on' run trained.dhc --state s --repeat 3
row 1 't.txt: error: is no .safetensors file but a text file' run trained.dhc --inputs x=t.txt
row 1 "zip.npy: error: is no .npy file but a zip archive (PyTorch's .pt and .bin files are some); save its tensors with safetensors.torch.save_file and give that file" run trained.dhc --inputs x=zip.npy
row 1 "void.npy: error: type '|V2' is bytes without a meaning, as NumPy writes bfloat16 and 8-bit floats; save them as float32" run trained.dhc --inputs x=void.npy
row 3 'error: bare: exists and is no regular file' run trained.dhc --inputs x=x.npy --outputs bare
row 2 "error: 'bare/' names no file" run trained.dhc --inputs x=x.npy --outputs bare/
row 1 'error: dangling.safetensors: is a link to nothing' run trained.dhc --weights dangling.safetensors
row 1 'error: pipe.safetensors: is a named pipe, no regular file' run trained.dhc --weights pipe.safetensors
row 1 "error: entry 'forward' needs 64.0 GiB at these sizes, limit is 977 KiB (--max-memory; nothing would be allocated here)" info trained.dhc --sizes B=2147483647 --max-memory 1000000
row 2 'error: verify: needs --oracle FILE.safetensors' verify mlp
# sweeps
row 2 'error: nothing to vary: give --set KEY=A,B, --opt KEY=A,B, --variants NAME or --placements M6A2' sweep trained.dhc
row 2 'error: sweep: one model at a time; got mlp as well' sweep trained.dhc mlp --set n=1,2
row 2 'error: --set: needs KEY=VALUE, got "n"' sweep trained.dhc --set n
row 2 'error: --placements: needs letters with how many of each, "M6A2", got "XX"' sweep trained.dhc --placements XX
row 2 'error: --placements and --set pattern exclude each other' sweep trained.dhc --placements M2A2 --set pattern=A,B
row 2 'error: --placements M40A40: 107507208733336201592832 orders; a sweep has at most 100000 variants' sweep trained.dhc --placements M40A40
row 1 'error: --variants: trained.dhc: the file declares no variants for Trained' sweep trained.dhc --variants small
row 1 "error: --variants: dhc_ssm: DHCSSM has no variants 'widht' (did you mean 'width'?)" sweep dhc_ssm --variants widht
row 2 'error: sweep: --train needs --data SPEC and --out DIR' sweep trained.dhc --set n=1,2 --train
row 2 'error: sweep: --worker needs --train' sweep trained.dhc --set n=1,2 --worker 1/2
row 2 'error: sweep: --metric needs --train' sweep trained.dhc --set n=1,2 --metric loss
row 2 'error: --hold: needs params, active-params, flops-per-token or state-bytes =VALUE (2.4M), got "params"' sweep trained.dhc --set n=1,2 --hold params --solve n
row 2 'error: --solve: needs NAME or NAME:STEP, a hyperparameter and a whole number, got "n:0"' sweep trained.dhc --set n=1,2 --hold params=1M --solve n:0
row 1 'error: --hold params=1000000: variant base comes no nearer than 4 (n=1, off by 1e+02 %); --slack allows 1 %' sweep trained.dhc --hold params=1M --solve n
row 2 'error: --solve n: --set n=1,2 varies it' sweep trained.dhc --set n=1,2 --hold params=1M --solve n
row 2 'error: --slack: needs a percentage above 0, 1%, got "0"' sweep trained.dhc --set n=1,2 --hold params=1M --solve n --slack 0
row 2 'error: --seeds: needs up to 1000 whole numbers, 0,1,2 or 0..4, got "a"' sweep trained.dhc --set n=1,2 --train --data npy:few --out o --seeds a
row 2 'error: --shard: needs I/N with I from 1 to N, got "3/2"' sweep trained.dhc --set n=1,2 --train --data npy:few --out o --shard 3/2
row 2 'error: --budget: needs a time such as 90s, 30m, 8h or 2d, got "x"' sweep trained.dhc --set n=1,2 --train --data npy:few --out o --budget x
row 2 'error: --worker: needs I/N, got "x"' sweep trained.dhc --set n=1,2 --train --data npy:few --out o --worker x
row 2 'error: no worker 9 of 2' sweep trained.dhc --set n=1,2 --train --data npy:few --out o --worker 9/2
row 2 "error: --baseline: the sweep has no variant 'nope'" sweep trained.dhc --set n=1,2 --train --data npy:few --out o --baseline nope
row 2 "error: --metric: no column 'nope' of results.csv is a number of a run" sweep trained.dhc --set n=1,2 --train --data npy:few --out o --metric nope --steps 1 --batch 1
row 2 'error: sweep merge: needs a folder to make and the folders of shards' sweep merge a
# training
row 2 'error: train: needs --data SPEC (images:DIR, csv:FILE, npy:DIR, hdf5:FILE, text:FILE, tokens:FILE, cifar10:DIR, idx:DIR, mnist:DIR, scifar:DIR or synth:TASK)' train mlp
row 2 'error: eval: needs --data SPEC and --weights FILE' eval mlp
row 2 'error: eval: needs --data SPEC' eval mlp --weights w.safetensors # as a package brings along
row 2 'error: --split: needs train, val or test, got "nope"' eval mlp --data idx:ok --weights w --split nope
row 2 'error: train: --resume needs --out DIR' train mlp --data idx:ok --resume
row 2 'error: train: --overwrite needs --out DIR' train mlp --data idx:ok --overwrite
row 2 'error: train: --save-every needs --out DIR' train mlp --data idx:ok --save-every 3
row 2 'error: train: --tensorboard needs --out DIR' train mlp --data idx:ok --tensorboard
row 2 'error: --resume and --overwrite exclude each other' train mlp --data idx:ok --out o --resume --overwrite
row 0 'warning: fresh: has no checkpoint of a run yet; it begins at step 1' train trained.dhc --data npy:few --out fresh --resume --steps 1 --quiet --backend interp
"$dhcc" train trained.dhc --data npy:few --out started --steps 1 --quiet --backend interp || fail 'a run that begins'
row 2 "error: --allow-changed: a run has no 'nope'" train trained.dhc --data npy:few --out started --resume --steps 1 --quiet --backend interp --allow-changed nope
row 2 'error: --allow-changed: only a run that goes on (--resume) can have changes' train trained.dhc --data npy:few --out bare --steps 1 --quiet --backend interp --allow-changed lr
# data
row 2 "error: data 'nothing:x': needs images:DIR, cifar10:DIR, cifar100:DIR, csv:FILE, hdf5:FILE, idx:DIR, mnist:DIR, npy:DIR, text:FILE, tokens:FILE, scifar:DIR or synth:TASK" train mlp --data nothing:x
row 2 "error: data 'folder:.': no source has that name (did you mean images:.?)" train mlp --data folder:.
row 1 "--set num_classes:1:1: error[E0301]: DHCSSM has no hyperparameter 'num_classes'" train dhc_ssm --data synth:bars --set num_classes=2
row 1 "  hint: did you mean 'output_dim'?" train dhc_ssm --data synth:bars --set num_classes=2
row 2 "error: data 'image:x': no source has that name (did you mean images:x?)" train mlp --data image:x
row 1 'error: npy:none: has no train examples' train trained.dhc --data npy:none --steps 1 --quiet --backend interp
row 1 'error: noarrays/train: has no .npy files' train trained.dhc --data npy:noarrays --steps 1 --quiet --backend interp
row 1 'scalar/train/x.npy: error: is a scalar, its first dimension must count examples' train trained.dhc --data npy:scalar --steps 1 --quiet --backend interp
row 1 'odd.bin: error: 3 bytes are no .npy and no u16 tokens' train trained.dhc --data tokens:odd.bin --steps 1 --quiet --backend interp
row 1 "error: the data has no 'x', which entry 'loss' of Trained needs: it has 'image' u8[1,28,28], 'target' i64[]; --data x=FIELD,SOURCE calls one so" train trained.dhc --data idx:ok --steps 1 --quiet --backend interp
row 1 'dims/train-images-idx3-ubyte: error: has 1 dimensions, pixels need 3' train mlp --data idx:dims --steps 1 --quiet --backend interp
row 1 'ends/train-images-idx3-ubyte: error: ends inside its header' train mlp --data idx:ends --steps 1 --quiet --backend interp
row 1 'more/train-images-idx3-ubyte: error: has more bytes than its header promises' train mlp --data idx:more --steps 1 --quiet --backend interp
row 1 'error: label 200 of the data is outside 0..9, the classes of MLP (--set output_dim=201)' train mlp --data idx:label --steps 1 --quiet --backend interp
row 1 "error: model Unlearned has no entry 'loss'" train unlearned.dhc --data npy:few --steps 1 --quiet --backend interp
sed 's/loss: \[\]/cost: []/' trained.dhc > cost.dhc
row 1 "error: model Trained trains by the first result of its entry 'loss', which must be called 'loss': -> (loss: [], ...)" train cost.dhc --data npy:few --steps 1 --quiet --backend interp
row 1 "error: input 'x' is i16, entry 'loss' needs f32" train trained.dhc --data npy:i16 --steps 1 --quiet --backend interp
row 1 'error: the data have 17 fields, training takes at most 16' train trained.dhc --data npy:many --steps 1 --quiet --backend interp
row 0 'note: Trained has no recipe: adam, lr 0.001, batch 64, clip 1 (train --print-recipe shows all)' train trained.dhc --data npy:few --steps 1 --backend interp
# models that something cannot be done with
model() { # NAME: the text on stdin
  { echo 'import std/nn'; cat; } > "$1.dhc"
}
model bare_loss <<'M'
model BareLoss() {
  param w: [4] = ones()
  loss<B>(x: [B, 4]) -> (loss: []) { return mean(x * w) }
}
M
model stream <<'M'
model Stream(vocabulary: int = 256) {
  param E: [vocabulary, 4] = normal(0.0, 1.0)
  state s: [B, 4] = zeros()
  forward<B, L>(tokens: i64[B, L]) -> (logits: [B, L, vocabulary]) {
    last, y = scan (h = s) over (u = gather(E, tokens)) along 1 {
      h = tanh(h + u)
      yield h
    }
    s <- last
    return y @ E.T
  }
}
M
sed 's/model Stream/model Infinite/; s/return y @ E.T/return y @ E.T \/ 0.0/' stream.dhc > infinite.dhc
sed 's/model Stream/model Odd/; s/logits: \[B, L, vocabulary\]/y: [B, 4]/; s/return y @ E.T/return last/' stream.dhc > odd.dhc
model two <<'M'
model Two() {
  state s: [B, 4] = zeros()
  state t: [B, 4] = zeros()
  forward<B>(x: [B, 4]) -> (y) {
    s <- s + x
    t <- t + s
    return t
  }
}
M
model power <<'M'
model Power() {
  state s: [N*N*N*N] = zeros()
  forward<N>(x: [N]) -> (y) {
    s <- s * 2.0
    return x
  }
}
M
sed 's/N\*N\*N\*N/N*N*N/' power.dhc > cube.dhc
model apart <<'M'
model Apart() {
  state s: [B, 4] = zeros()
  state t: [N, 4] = zeros()
  f<B>(x: [B, 4]) -> (y) {
    s <- s + x
    return s
  }
  g<N>(x: [N, 4]) -> (y) {
    t <- t + x
    return t
  }
}
M
model grown <<'M'
model Grown() {
  forward<B>(x: [B, 4]) -> (y) {
    require B >= 2
    return pad(x, 0, 1, 0)
  }
}
M
model full <<'M'
model Full() {
  state n: [B] = zeros()
  forward<B, L>(x: [B, L]) -> (y) {
    require max(n) <= 3.0, "it is full"
    n <- n + 1.0
    return x * 2.0
  }
}
M
model optional <<'M'
model Optional() {
  forward<B>(x: [B, 4], mask: [B, 4] = ones()) -> (y) { return x * mask }
}
M
model metric <<'M'
model Metric() {
  param w: [4] = ones()
  loss<B>(x: [B, 4]) -> (loss: []) { return mean(x * w) }
  metric accuracy<B>(y: [B, 4]) -> (accuracy: []) { return mean(y) }
}
M
model over <<'M'
model Over() {
  param w: [4] = ones()
  loss<B>(x: [B, 4]) -> (loss: []) { return sum(x * w + 1.0) / 0.0 }
}
M
model buffered <<'M'
model Buffered() {
  param w: [4] = ones()
  buffer n: [] = zeros()
  loss<B>(x: [B, 4]) -> (loss: []) {
    if training { n <- n + sum(x) + 1.0 / 0.0 }
    return mean(x * w)
  }
}
M
model constants <<'M'
model Constants(n: int = 2) {
  forward<B>(x: [B, 4]) -> (y) {
    for i in 0..300 { x = x * (1.0 / float(n + i)) }
    return x
  }
}
M
model sizes <<'M'
model Sizes() {
  cube<N>(x: [N*N*N, 4]) -> (y) { return x * 2.0 }
  square<A, B>(x: [A, B, 4]) -> (y) { return x * 2.0 }
  product<A, B, C>(x: [A, B], y: [B, C]) -> (z) { return x @ y }
}
M
sizes=(sizes.dhc --backend interp --entry)
row 1 "error: input 'x' has no size here" info "${sizes[@]}" cube --sizes N=2147483647
row 1 "error: input 'x' is larger than any tensor can be" info "${sizes[@]}" square --sizes A=2147483647,B=2147483647
row 1 "error: entry 'product': operations at these sizes do not fit in 63 bits" info "${sizes[@]}" product --sizes A=1073741824,B=536870912,C=1024
row 1 "error: model BareLoss has no entry 'forward' that takes tokens" generate bare_loss.dhc --prompt a --backend interp
row 1 "error: 'forward' of Odd gives 'y', not logits [batch, length, vocabulary]" generate odd.dhc --prompt a --backend interp
row 4 'error: token 1: the logits are not finite' generate infinite.dhc --prompt a --backend interp
like 1 ".*dhcc: error: generate: a token is no byte, the model's vocabulary is larger than 256" generate stream.dhc --set vocabulary=400 --prompt a --tokens 50 --temperature 100 --backend interp
like 0 '.*2 tokens, [0-9]* a second' generate stream.dhc --prompt a --tokens 2 --backend interp
row 1 "error: --inputs msk=x.npy: entry 'forward' has no input 'msk' (did you mean 'mask'?)" run optional.dhc --inputs x=x.npy --inputs msk=x.npy --backend interp
row 1 "z.safetensors: error: 'z' is no state of Two" run two.dhc --inputs x=x.npy --entry forward.step --state z.safetensors --backend interp
row 1 "error: the loaded state has no 't', which entry 'forward.step' carries on" run two.dhc --inputs x=x.npy --entry forward.step --state s.safetensors --backend interp
row 1 "error: state 's' has no size here" run power.dhc --entry forward.step --inputs x=n4.npy --backend interp
row 1 "error: number of bytes of state 's' does not fit in 63 bits" run cube.dhc --entry forward.step --inputs x=n3.npy --backend interp
row 1 "nine.safetensors: error: tensor 'w' has 9 dimensions, more than 8" run trained.dhc --inputs x=x.npy --weights nine.safetensors --backend interp
row 1 "steps.safetensors: error: the model has no 'z'" verify bare_loss.dhc --oracle steps.safetensors --backend interp
like 1 'dhcc: error: off.safetensors: 1 of 1 rows are beyond the tolerance' verify trained.dhc --oracle off.safetensors --backend interp
row 1 "error: model BareLoss: entry 'loss' has no unit that gives what it takes: nothing can be left out" ablate bare_loss.dhc --data npy:few --split train --weights w.safetensors --backend interp
row 4 "error: result 'loss' is inf for the examples from number 0 on" eval over.dhc --data npy:few --split train --weights w.safetensors --backend interp
row 4 "error: step 1: 'loss' is not finite at index 0; nothing was changed" train over.dhc --data npy:few --steps 1 --backend interp
row 4 'error: step 1: the new value of a buffer is not finite (loss 0); nothing was changed' train buffered.dhc --data npy:few --steps 1 --backend interp
row 1 "error: metric 'accuracy' needs 'y', which 'loss' neither takes nor gives" train metric.dhc --data npy:few --steps 1 --backend interp
like 2 'dhcc: error: --stage: needs ast, graph, grad, train, fused, .* (also grad.STAGE, train.STAGE), got "nope"' print mlp --stage=nope
# objects that are not made, or not called
row 2 'error: -o x.so: wasm32 has no shared libraries; needs a name that ends in .o or .a' build trained.dhc -o x.so --target wasm32
row 2 'error: build: x.o is to be two files' build trained.dhc -o x.o --header x.o
row 2 'error: --selftest: every entry of the object carries states on' build two.dhc --entry forward.step --weights w.safetensors --bind B=1 -o x.o --selftest 1
row 1 "error: --max-ram 10: entry 'forward' needs 2432 bytes, most of them (2048) for values between kernels" build mlp --target aarch64 --max-ram 10 --bind B=1 -o x.o
row 2 "error: --variant-weights: variant 'a' has weights and another has none (--weights are for all others)" build mlp -o x.o --variant a:depth=1 --variant b:depth=2 --variant-weights a:w.safetensors
row 2 "error: --variant-weights: no --variant is called 'c'" build mlp -o x.o --variant a:depth=1 --variant-weights c:w.safetensors
row 2 'error: --variant a: more than 64 settings' build mlp -o x.o --variant "a:$(seq -s, -f 'd%g=1' 65)"
row 1 "error: entry 'f.step' does not tell how large state 't' of another entry is: build them apart" build apart.dhc --entry f.step --entry g.step -o x.o
row 1 "error: entry 'cube': at these sizes a number of bytes does not fit in 63 bits" build sizes.dhc --entry cube --bind N=2147483647 -o x.o
row 2 'error: --target nope: there is none; there are x86-64, x86-64-v2, x86-64-v3, x86-64-v4, aarch64, riscv64, armv7, thumbv7em, wasm32, and triples of them' build trained.dhc -o x.o --target nope
row 2 'error: --cpu nope: not one of aarch64 (generic cortex-a53 cortex-a55 cortex-a72 cortex-a76 neoverse-n1 neoverse-n2 neoverse-v1 neoverse-v2 apple-m1)' build trained.dhc -o x.o --target aarch64 --cpu nope
row 2 'error: --features: of x86-64 only in this version; aarch64 has its own' build trained.dhc -o x.o --target aarch64 --features avx2
[ "$(uname -m)" = x86_64 ] &&
  row 2 "error: --cpu-features: 'sse2' cannot be switched off: all code for this machine needs it" run trained.dhc --inputs x=x.npy --cpu-features=-sse2
like 1 "dhcc: error: --max-stack 1: entry 'forward' may need [0-9]* bytes; the largest frame is that of .*" build trained.dhc -o x.o --max-stack 1
mkdir linkers
printf '#!/bin/sh\nexit 3\n' > linkers/ld.lld
chmod +x linkers/ld.lld
with=(PATH="$work/linkers")
row 3 'error: -o x.so: the linker ended with status 3' build trained.dhc -o x.so
with=(PATH="$work/nowhere")
row 3 'error: -o x.so: linking it needs ld.lld or ld; an object (.o) needs neither' build trained.dhc -o x.so
with=()
like 0 'full.so: 2 entries, [0-9]* kernels, [0-9]* bytes; no weights to pass' build full.dhc --entry forward.step -o full.so
row 1 'error: bench: full.so has no function other_describe: it is no object of dhcc build, or of another --name' bench --object full.so --name other
row 1 'error: bench: full.so: the entry returns status 7 (docs/abi.md)' bench --object full.so
"$dhcc" build grown.dhc -o grown.so > said.txt 2>&1 || fail 'an object of a result that grows'
row 1 "error: bench: grown.so: the entry does not take these sizes (--sizes; 1 where left out): entry 'forward': needs B >= 2" bench --object grown.so --sizes B=1
row 1 'error: bench: grown.so: an input or output whose size bench does not work out' bench --object grown.so --sizes B=2
[ -e "$ODD_OBJECT" ] && ln -s "$ODD_OBJECT" odd.so || fail "no library $ODD_OBJECT"
row 1 'error: bench: odd.so: it does not do what docs/abi.md says' bench --object odd.so
# kernels by themselves
cat > sine.spec <<'S'
spec map args 0 {
  axis par
  in f32 row [1(a0)]
  %0 = load 0 : f32
  %1 = const 0x1.e848p+19 : f32
  %2 = mul(%0, %1) : f32
  %3 = sin(%2) : f32
  out f32 row [1(a0)] = %3
}
S
cat > fold.spec <<'S'
spec row args 1 {
  axis par
  axis red
  axis red
  in f32 row [s(%0), s(a1), s(a2)]
  %0 = arg 0 : i64
  %1 = load 0 : f32
  %2 = fold reduce_sum(%1) a1 a2 : f32
  out f32 row [1(a0)] = %2
}
S
like 1 'dhcc: error: sine.spec: kernel and reference differ by [0-9.]*e-0[12]' kernel sine.spec --dims 1000
row 2 'error: --dims: the addresses of operand 0 do not fit in 63 bits' kernel fold.spec --dims 1,2,2,3,0,0,9223372036854775807
row 2 'error: --dims: node 1 would have more than 67108864 values' kernel fold.spec --dims 1,10000,10000,0,0,0,0
row 2 'error: --dims: operands and values need 3.00 GiB, the limit is 2.00 GiB' kernel sine.spec --dims 67000000
row 2 'error: --dims: the axes have more than 1099511627776 places together' kernel fold.spec --dims 60000000,60000000,1,0,0,0,0
# runs that go on with something else
like 0 '1 steps in [0-9.]* s, last loss 0.0000, weights in again' train trained.dhc --data npy:few --out again --steps 1 --backend interp
row 1 'error: again: --resume: lr: 0.001 in the run, 0.5 now (give what the run has, or --allow-changed lr)' train trained.dhc --data npy:few --out again --resume --lr 0.5 --steps 1 --backend interp
head -1 again/metrics.csv > header && mv header again/metrics.csv
row 0 'warning: again: the metrics have 0 of the 1 rows so far; the others are lost' train trained.dhc --data npy:few --out again --resume --steps 2 --allow-changed steps --quiet --backend interp
mkdir last && cp again/last.safetensors last
row 1 'error: last: holds no run to go on with: neither checkpoints nor a config.json of one' train trained.dhc --data npy:few --out last --resume --steps 1 --backend interp
like 0 'median [0-9.]* ms of 2 runs (min [0-9.]*, max [0-9.]*)' run trained.dhc --inputs x=x.npy --backend interp --repeat 2
like 0 'kernels: [0-9]* compiled, [0-9]* reused ([0-9]* from disk), [0-9]* ms' run trained.dhc --inputs x=x.npy
# sweeps that cannot begin, or not go on
few=(--train --data npy:few --steps 1 --batch 1 --quiet --backend interp)
like 0 '4 of 4 runs done, in grid' sweep trained.dhc --opt lr=0.1,0.2 --seeds 0,1 --out grid --train --data npy:few --steps 1 --batch 1 --backend interp
row 1 'error: grid/sweep.json: its sweep has variant lr=0.2 too; --resume may add variants and seeds, not leave them out' sweep trained.dhc --opt lr=0.1 --seeds 0,1 --out grid --resume "${few[@]}"
row 1 'error: grid/sweep.json: its sweep has seed 1 too; --resume may add variants and seeds, not leave them out' sweep trained.dhc --opt lr=0.1,0.2 --out grid --resume "${few[@]}"
"$dhcc" sweep trained.dhc --opt clip=0.1,0.2 --out other --metric val_loss "${few[@]}" > said.txt 2>&1 || fail 'a sweep of another metric'
row 1 'error: grid is about loss, other about val_loss: --y says which to draw' plot grid other -o x.svg
mkdir none_of && echo '{}' > none_of/sweep.json
row 1 'error: none_of: holds no sweep: sweep.json describes none' sweep trained.dhc --opt lr=0.1,0.2 --out none_of --resume "${few[@]}"
row 1 'error: variant depth=1, seed 0: label 200 of the data is outside 0..9, the classes of MLP (--set output_dim=201)' sweep mlp --set depth=1,2 --set hidden=2 --out labels --train --data idx:label --steps 1 --quiet --backend interp
like 1 'dhcc: error: --budget: the shortest run takes about [0-9]* s, [01] s are left of it' sweep trained.dhc --opt lr=0.1,0.2 --out budget --train --data npy:few --steps 1000000000 --batch 1 --quiet --backend interp --budget 1s
row 2 'error: --seeds: needs at most 4294967295, got 4294967296' sweep trained.dhc --opt lr=0.1,0.2 --out x "${few[@]}" --seeds 4294967296
row 1 "error: variant depth=1: the inputs of entry 'loss' need more memory than the limit leaves (--max-memory)" sweep mlp --set depth=1,2 --sizes B=1000000 --max-memory 100000000 --backend interp
# stopped, wherever it is asked for
stopped() { # LINE command...: one of the first polls ends it so
  local line=$1 poll
  shift
  for poll in 1 2 3 4 5 6 7 8 9; do
    rm -rf ended
    DHC_STOP_AT_POLL=$poll timeout 30 "$dhcc" "$@" > said.txt 2>&1 < /dev/null
    [ $? = 130 ] || break
    grep -aq -e "dhcc: $line\$" said.txt && return
  done
  fail "never says '$line': $*"
}
stopped 'stopped after 0 tokens' generate stream.dhc --prompt a --tokens 5 --backend interp
stopped 'stopped at step 1' train trained.dhc --data npy:few --batch 1 --steps 2 --quiet --backend interp
stopped 'stopped at step 1, checkpoint in ended; go on with --resume' train trained.dhc --data npy:few --batch 1 --steps 2 --quiet --backend interp --out ended
stopped 'stopped while compiling' train trained.dhc --data npy:few --batch 1 --steps 2 --quiet --no-cache
stopped 'stopped during evaluation' eval trained.dhc --data npy:few --split train --weights w.safetensors --backend interp
stopped 'stopped before the first variant' sweep trained.dhc --hold params=1M --solve n --backend interp
stopped 'stopped after 1 of 2 variants' sweep trained.dhc --opt lr=0.1,0.2 --cost-only --backend interp
stopped 'stopped before the first run' sweep trained.dhc --opt lr=0.1,0.2 --out ended "${few[@]}"
stopped 'stopped; 1 of 2 runs are done; go on with --resume' sweep trained.dhc --opt lr=0.1,0.2 --out ended --batch 2 "${few[@]}"
# as many as there may be, and more
row 2 'error: --bind: more than 32 sizes' build trained.dhc --bind "$(seq -s, -f 'B%g=1' 40)" -o x.o
row 2 'error: 160000 combinations; a sweep has at most 100000 variants (--random N takes some)' sweep mlp --set depth="$(seq -s, 400)" --set hidden="$(seq -s, 400)"
mapfile -t many < <(seq -f '--inputs=a%g=x.npy' 33)
row 2 'error: --inputs: given more than 32 times' run trained.dhc "${many[@]}"
mapfile -t many < <(seq 4097)
row 2 'error: too many arguments, from "4097" on' plot "${many[@]}"
head -c 17000000 /dev/zero | tr '\0' ' ' > large.dhc
row 1 'error: large.dhc: larger than 16 MB' opt large.dhc
row 1 'error[E0114]: large.dhc is larger than 16 MiB' check large.dhc
row 1 'error: arrays/train: more than 64 .npy files' train trained.dhc --data npy:arrays --steps 1 --quiet --backend interp
row 1 'error: the model has 129 float hyperparameters; 128 are allowed' run floats.dhc --inputs x=x.npy --backend interp
row 1 'error: more than 256 scalars' run constants.dhc --inputs x=x.npy --backend interp
row 1 "error: entry 'forward' has more than 32 symbols" run symbols.dhc --inputs many.safetensors --backend interp
row 1 'error: more than 32 inputs' info symbols.dhc --sizes A1=1 --backend interp
row 1 "error: entry 'loss' of Symbols has 33 inputs, training takes at most 16" train symbols.dhc --data npy:few --steps 1 --backend interp
row 2 'error: --inputs: more than 256 tensors' run trained.dhc --inputs more.safetensors --backend interp
row 2 'error: an object has at most 16 entries, resets among them' build entries.dhc --entry f.step $(seq -f '--entry e%g' 15) -o x.o
row 2 'error: more combinations than can be counted' sweep mlp $(seq -f "--set a%g=$(seq -s, 1000)" 7)
row 2 'error: a sweep has at most 62 axes' sweep mlp $(seq -f '--set a%g=1' 32) $(seq -f '--opt lr=%g' 32)
row 1 'long.txt.gz: error: inflates to more than the memory limit (--max-memory)' train stream.dhc --data text:long.txt.gz --max-memory 20000000 --steps 1 --quiet --backend interp
finish
