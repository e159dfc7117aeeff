#!/usr/bin/env bash
# What goes wrong with several ranks is one line, and ends all of them.
# $1: dhcc with the stand-in device, $2: the stand-in NCCL, $3: dhcc, $4: the stand-in driver
. "$(dirname "$0")/../cli/common.sh"
export DHC_LIBNCCL=$2 STAND_IN_NCCL_FOLDER=$work
python3 "$(dirname "$0")/../cli/data.py" "$work/data"
train() { timeout 60 "$1" train dhc_ssm --set input_channels=1 --set hidden_dim=8 --data "npy:$work/data" --batch 16 --quiet --steps 3 "${@:2}"; }
# one STATUS TEXT ENVIRONMENT... : the one line of two ranks
one() {
  local want=$1 text=$2 out rc
  shift 2
  out=$(export "$@"; train "$dhcc" --gpus 2 --check-ranks 1 2>&1)
  rc=$?
  [ "$rc" = "$want" ] && [ "$out" = "dhcc: error: $text" ] || fail "$*: status $rc, wanted $want and \"$text\", got: $out"
}
all='; all ranks have ended'
one 3 "rank 0: no NCCL (/nonexistent), which several GPUs need: install it, or name the file in DHC_LIBNCCL" DHC_LIBNCCL=/nonexistent
one 3 "rank 0: this NCCL has no ncclGetVersion; use version 2.10 or newer" "DHC_LIBNCCL=$4"
one 3 "rank 0: this NCCL is version code 2804; use version 2.10 or newer" STAND_IN_NCCL_VERSION=2804
one 3 "rank 0: NCCL: asking for its version: unhandled system error (2): what it means" STAND_IN_NCCL_FAIL=ncclGetVersion:2
one 3 "rank 0: NCCL: making an id: unhandled system error (2): what it means" STAND_IN_NCCL_FAIL=ncclGetUniqueId:2
one 3 "rank 1: NCCL: meeting the other ranks: internal error (3): what it means$all" STAND_IN_NCCL_FAIL=ncclCommInitRank:3 STAND_IN_NCCL_RANK=1
one 3 "rank 1: NCCL: sending to the other ranks: internal error (3): what it means$all" STAND_IN_NCCL_FAIL=ncclBroadcast:3 STAND_IN_NCCL_RANK=1
one 3 "rank 1: NCCL: summing over the ranks: internal error (3): what it means$all" STAND_IN_NCCL_FAIL=ncclAllReduce:3:1 STAND_IN_NCCL_RANK=1
one 3 "rank 1: NCCL: working with the other ranks: internal error (3): what it means$all" STAND_IN_NCCL_FAIL=async:3:1 STAND_IN_NCCL_RANK=1
one 3 "ranks 0 and 1 have other weights after step 2, which cannot be" STAND_IN_NCCL_SPOIL=2
# before the first step there is nothing to go on with
out=$(STAND_IN_NCCL_FAIL=ncclCommInitRank:3 STAND_IN_NCCL_RANK=1 train "$dhcc" --gpus 2 --out "$work/unbegun" 2>&1)
[ "$out" = "dhcc: error: rank 1: NCCL: meeting the other ranks: internal error (3): what it means$all" ] || fail "nothing was begun: $out"
expect 2 'train: --gpus and --distributed exclude each other' train "$dhcc" --gpus 2 --distributed
[ "$(train "$dhcc" --gpus 2 --profile 2>&1)" = 'dhcc: error: several ranks: --profile is of one' ] || fail "a profile of several ranks"
expect 2 'several ranks: backend cpu cannot sum over them; use --backend cuda' train "$3" --gpus 2
expect 3 '--distributed: neither torchrun' train "$dhcc" --distributed
expect 1 'nothing.dhc' timeout 60 "$dhcc" train "$work/nothing.dhc" --data "npy:$work/data" --gpus 2

# a disk that takes no more (a limit on files here, beyond what the checkpoint needs): one line with the rank, nobody left, and it goes on
wide() { timeout 60 "$dhcc" train dhc_ssm --set input_channels=1 --set hidden_dim=32 --data "npy:$work/data" --batch 16 --quiet --lr 1e-3 --gpus 2 --save-every 2 --val-fraction 0 --out "$work/full" "$@"; }
wide --steps 4 || fail "four steps"
out=$(trap '' XFSZ; ulimit -f 1500; wide --steps 8 --resume --allow-changed steps 2>&1)
rc=$?
case "$rc $out" in
  "3 dhcc: error: rank 0: $work/full/checkpoint-000000006.safetensors: "*"; checkpoint of step 4 kept") ;;
  *) fail "a full disk: $rc $out" ;;
esac
pgrep -f "out $work/full" > /dev/null && fail "ranks are left behind a full disk"
wide --steps 8 --resume --allow-changed steps || fail "going on behind a full disk"
[ "$(cut -d, -f1 "$work/full/metrics.csv" | tail -1)" = 8 ] || fail "the run ends elsewhere behind a full disk"

# ranks that others started: both trained as those of --gpus
for r in 0 1; do
  RANK=$r WORLD_SIZE=2 LOCAL_RANK=$r MASTER_ADDR=127.0.0.1 MASTER_PORT=$((20000 + $$ % 20000)) train "$dhcc" --distributed --out "$work/tcp" 2> "$work/err$r" &
done
wait
[ -s "$work/err0" ] && fail "rank 0 says $(cat "$work/err0")"
train "$dhcc" --gpus 2 --out "$work/forked"
cmp -s "$work/tcp/last.safetensors" "$work/forked/last.safetensors" || fail "ranks over TCP have other weights"
finish
