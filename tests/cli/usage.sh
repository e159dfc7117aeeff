#!/usr/bin/env bash
# Command line errors: one line, the option named, exit 2.
own_store=1
. "$(dirname "$0")/common.sh"
expect 2 'unknown option --epoch (did you mean --epochs?)' "$dhcc" train dhc_ssm --epoch 3
expect 2 'tune: needs -o FILE' "$dhcc" tune mlp
expect 2 '--batch: needs a whole number from 1 to 1048576, got "12abc"' "$dhcc" train dhc_ssm --batch 12abc
expect 2 '--batch: needs a whole number from 1 to 1048576, got "0"' "$dhcc" train dhc_ssm --batch 0
expect 2 '--batch: needs a whole number from 1 to 1048576, got "-1"' "$dhcc" train dhc_ssm --batch=-1
expect 2 '--batch: needs a whole number from 1 to 1048576, got "1e3"' "$dhcc" train dhc_ssm --batch 1e3
expect 2 '--lr: needs a finite number above 0, got "nan"' "$dhcc" train dhc_ssm --lr nan
expect 2 'unknown option --learning_rate (did you mean --lr?)' "$dhcc" train dhc_ssm --learning_rate 1
expect 2 'unknown option --num-workers (did you mean --threads?)' "$dhcc" train dhc_ssm --num-workers=2
expect 2 'unknown option --device (did you mean --backend?)' "$dhcc" run dhc_ssm --device cuda
expect 2 'unknown command trian (did you mean train?)' "$dhcc" trian
expect 2 'needs KEY=VALUE' "$dhcc" info dhc_ssm --set hidden_dim
expect 2 'usage: dhcc check MODEL' "$dhcc" check
expect 2 '--backend: needs cpu, interp or cuda, got "tpu"' "$dhcc" info dhc_ssm --backend tpu
expect 2 '--compute tf32: needs --backend cuda; interp computes as it is defined' "$dhcc" info dhc_ssm --backend interp --compute tf32
expect 2 '--compute bf16: needs --backend cuda; interp computes as it is defined' "$dhcc" info dhc_ssm --backend interp --compute bf16
expect 2 '--compute: needs f32, tf32 or bf16, got "f16"' "$dhcc" check dhc_ssm --compute f16
expect 0 'parameters' "$dhcc" info dhc_ssm --compute f32
if "$dhcc" doctor | grep -q "^NVRTC"; then
  # no driver is opened where the variable names none
  export DHC_LIBCUDA=/nonexistent/libcuda.so DHC_LIBNVRTC=/nonexistent/libnvrtc.so
  expect 3 '--backend cuda: no NVIDIA driver' "$dhcc" info dhc_ssm --backend cuda
  expect 3 '--backend cuda: no NVIDIA driver' "$dhcc" run dhc_ssm --backend cuda
  expect 3 '--backend cuda: no NVRTC' "$dhcc" print mlp --stage=ptx
  expect 0 '__global__' "$dhcc" print mlp --stage=cuda --gpu-arch sm_100a
  expect 2 '--gpu-arch: needs an architecture such as sm_90a' "$dhcc" print mlp --stage=cuda --gpu-arch hopper
  expect 0 'mma_tf32' "$dhcc" print mlp --stage=cuda --compute tf32
  expect 0 'mma_bf16' "$dhcc" print mlp --stage=cuda --compute bf16
  expect 2 '--compute tf32: needs --backend cuda' "$dhcc" run mlp --compute tf32
  if ! "$dhcc" run mlp --backend cpu 2>&1 | grep -q 'not in this build\|no LLVM'; then
    expect 2 '--compute tf32: needs --backend cuda; cpu computes as it is defined' "$dhcc" print mlp --stage=asm --compute tf32
  fi
  expect 0 'no NVIDIA driver' "$dhcc" doctor
  expect 3 '--backend cuda: no NVIDIA driver' "$dhcc" info mlp --backend cuda:7
  expect 2 "--backend: needs a GPU's number behind cuda:, got \"cuda:x\"" "$dhcc" info mlp --backend cuda:x
else
  expect 3 '--backend cuda: not in this build' "$dhcc" info dhc_ssm --backend cuda
fi
expect 0 'dhcc ' "$dhcc" --version
expect 0 'usage: dhcc train MODEL' "$dhcc" train --help
expect 0 'commands:' "$dhcc" --help
expect 1 'no such' "$dhcc" run mlp --inputs "$work/absent.npy"
# what is empty has no name to be said
expect 2 'dhcc: error: --weights: needs a value (FILE), got an empty one' "$dhcc" run mlp --weights ''
expect 2 'dhcc: error: --out: needs a value (DIR), got an empty one' "$dhcc" train mlp --data npy:x --out=
expect 2 'dhcc: error: --set: needs a value (KEY=VALUE), got an empty one' "$dhcc" info mlp --set ''
expect 2 'dhcc: error: argument 1 of check is empty' "$dhcc" check ''
expect 2 'dhcc: error: --inputs: needs FILE.safetensors or NAME=FILE.npy, got "image="' "$dhcc" run mlp --inputs image=
# a name on the command line is meant
expect 1 "dhcc: error: --inputs y=x.npy: entry 'forward' has no input 'y'" "$dhcc" run mlp --backend interp --inputs y=x.npy
expect 1 "dhcc: error: --inputs imgae=x.npy: entry 'forward' has no input 'imgae' (did you mean 'image'?)" "$dhcc" run mlp --backend interp --inputs imgae=x.npy
expect 1 "dhcc: error: x.npy: no such file or directory" "$dhcc" run mlp --backend interp --grad --inputs cotangent.logits=x.npy
expect 2 'dhcc: error: --csv and --json exclude each other' "$dhcc" info mlp --csv --json
expect 2 'dhcc: error: --csv and --json exclude each other' "$dhcc" ablate mlp --csv --json
expect 2 'unknown command nosuch' "$dhcc" help nosuch
expect 2 '--color: needs auto, always or never, got "purple"' "$dhcc" check mlp --color=purple
expect 2 '--sizes: needs NAME=N' "$dhcc" info mlp --sizes B=0
expect 2 '--sizes: needs NAME=N' "$dhcc" info mlp --sizes B
expect 2 "--sizes: entry 'forward' has no size 'Q'" "$dhcc" info mlp --sizes B=2,Q=3
expect 1 'Is a directory' "$dhcc" opt "$work"
expect 1 "did you mean 'dhc_ssm'?" "$dhcc" check dhc_smm
expect 1 'one of dhc_jamba' "$dhcc" check nothing_like_it
# an option belongs to commands; help lists a command's own, with what holds without them
expect 2 'check takes no --lr; it is an option of train' "$dhcc" check mlp --lr 3
expect 2 'unknown option --stge (did you mean --stage?)' "$dhcc" print mlp --stge=fused
expect 2 'dhcc check --help lists them' "$dhcc" check mlp --nothing-like-it
expect 2 '--lr: needs a number of at most 1e+06, got "1e30"' "$dhcc" train mlp --lr 1e30
expect 2 "--disable-pass: there is no pass 'simplfy' (did you mean 'simplify'?)" "$dhcc" info mlp --sizes B=2 --disable-pass simplfy
expect 2 "--disable-pass: pass 'fuse' cannot be left out" "$dhcc" info mlp --sizes B=2 --disable-pass fuse
expect 2 "there is no pass 'cs'" "$dhcc" opt /dev/null --pass=simplify,cs
"$dhcc" train --help > "$work/help"
for o in --lr --steps --resume --backend --json; do grep -q -e "^  $o" "$work/help" || fail "train --help lacks $o"; done
for o in --oracle --stage --sizes --dims; do ! grep -q -e "^  $o" "$work/help" || fail "train --help has $o"; done
grep -q -e '\[the recipe.s schedule\]' "$work/help" || fail "train --help lacks a default"
for c in check info print opt kernel run verify train eval ablate cache doctor explain; do
  "$dhcc" $c --help > "$work/help" || fail "$c --help"
  awk 'length > 90' "$work/help" | grep -v example: && fail "$c --help has long lines"
  [ "$(tr -cd '[' < "$work/help" | wc -c)" = "$(tr -cd ']' < "$work/help" | wc -c)" ] || fail "$c --help ends in the middle of an option"
done
# what a run would use, without data; a model that says nothing trains with defaults, and hears so
expect 0 'optimizer          adamw' "$dhcc" train mlp --print-recipe
expect 0 'steps              30' "$dhcc" train mlp --print-recipe --steps 30
cat > "$work/plain.dhc" <<'M'
import std/nn
model Plain() {
  param w: [4] = ones()
  loss<B>(x: [B, 4]) -> (loss: []) { return mean(x * w) }
}
M
expect 0 'recipe             (none: defaults)' "$dhcc" train "$work/plain.dhc" --print-recipe
finish
