#!/usr/bin/env bash
# Command line errors: one line, the option named, exit 2.
. "$(dirname "$0")/common.sh"
expect 2 'unknown option --epoch (did you mean --epochs?)' "$dhcc" train dhc_ssm --epoch 3
expect 2 '--batch: needs a whole number from 1 to 1048576, got "12abc"' "$dhcc" train dhc_ssm --batch 12abc
expect 2 '--batch: needs a whole number from 1 to 1048576, got "0"' "$dhcc" train dhc_ssm --batch 0
expect 2 '--batch: needs a whole number from 1 to 1048576, got "-1"' "$dhcc" train dhc_ssm --batch=-1
expect 2 '--batch: needs a whole number from 1 to 1048576, got "1e3"' "$dhcc" train dhc_ssm --batch 1e3
expect 2 '--lr: needs a finite number above 0, got "nan"' "$dhcc" train dhc_ssm --lr nan
expect 2 'unknown command trian (did you mean train?)' "$dhcc" trian
expect 2 'needs KEY=VALUE' "$dhcc" info dhc_ssm --set hidden_dim
expect 2 'usage: dhcc check MODEL' "$dhcc" check
expect 2 '--backend: needs interp or cpu' "$dhcc" info dhc_ssm --backend tpu
expect 3 '--backend cuda' "$dhcc" info dhc_ssm --backend cuda
expect 0 'dhcc ' "$dhcc" --version
expect 0 'usage: dhcc train MODEL' "$dhcc" train --help
expect 0 'commands:' "$dhcc" --help
expect 1 'no such' "$dhcc" run mlp --inputs "$work/absent.npy"
expect 2 'unknown command nosuch' "$dhcc" help nosuch
expect 2 '--color: needs auto, always or never, got "purple"' "$dhcc" check mlp --color=purple
expect 2 '--sizes: needs NAME=N' "$dhcc" info mlp --sizes B=0
expect 2 '--sizes: needs NAME=N' "$dhcc" info mlp --sizes B
expect 2 "--sizes: entry 'forward' has no size 'Q'" "$dhcc" info mlp --sizes B=2,Q=3
expect 1 'Is a directory' "$dhcc" opt "$work"
expect 1 "did you mean 'dhc_ssm'?" "$dhcc" check dhc_smm
expect 1 'one of dhc_jamba' "$dhcc" check nothing_like_it
finish
