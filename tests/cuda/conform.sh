#!/usr/bin/env bash
# conform.sh BUILD [ORACLES]: a GPU beside what kernels mean. All of test_backends_* that run on one, those that compile most cut into
# processes, of the longest a part (every third form of `contract`, half of the kernels of `fused_ops`, 40 graphs); the rows of bench_gpu,
# none farther from exact sums than `verify` takes of outputs; the reference files of ORACLES in each way to compute. Side by side, as most
# of the time is NVRTC's: JOBS at once (1.5 a processor). A line for each with its seconds; exit 1 if one is wrong, 77 where there is no GPU.
build=$1 oracles=${2:-} dhcc=$1/cli/dhcc
"$dhcc" doctor | grep -q '^GPU .*sm_' || { echo "skipped: no GPU" && exit 77; }
out=$(mktemp -d) && trap 'rm -rf "$out"' EXIT
list=$(dirname "$0")/../oracles/CMakeLists.txt
test_part() { # NAME I/N [ARGUMENTS]
  local part=$2
  [ "$1" != fused_random ] || part=0/1
  DHC_TEST_BACKEND=cuda DHC_TEST_FEW=1 DHC_TEST_PART=$part "$build/tests/backends/test_backends_$1" "${@:3}" > "$log" 2>&1
  local code=$?
  grep -h 'compiled,\|outputs with\|kernels run' "$log" | paste -sd ';'
  [ $code = 0 ] || grep -v '^\[.*\(OK\|RUN\)' "$log" | tail -12
  return $code
}
rows_in() { # COMPUTE MOST
  "$build/bench/bench_gpu" "$1" > "$log" || return 1
  awk -v most="$2" '/ error / { sub(/.* error */, ""); n++; if ($1 ~ /nan/) next; if (!($1 + 0 <= most)) bad++; if ($1 + 0 > far) far = $1 + 0 }
    END { printf "%d products and convolutions, at most %.1e from exact sums, %d of them beyond %s\n", n, far, bad, most; exit bad > 0 || n == 0 }' "$log"
}
reference() { # NAME COMPUTE VERIFY'S ARGUMENTS...
  local name=$1 compute=$2
  shift 2
  "$dhcc" verify "$@" --backend cuda --compute "$compute" --oracle "$oracles/$name.safetensors" > "$log" 2>&1 && echo "every row" && return
  tail -5 "$log"
  return 1
}
job() { # a line of `jobs`
  local began=$SECONDS said
  log=$(mktemp "$out/log.XXXXXX")
  if said=$("$@"); then echo "$*: $said ($((SECONDS - began)) s)"; else touch "$out/failed" && echo "$*: FAILED ($((SECONDS - began)) s): $said"; fi
}
jobs() { # the longest first
  local name run n i compute stack arguments
  while read -r name run n; do # of n parts these run
    for ((i = 0; i < run; i++)); do echo "test_part $name $i/$n$([ "$name" != fused_random ] || echo " 8 $((1000 * i + 1))")"; done
  done <<< $'fused_random 5 5\nfused_ops 4 8\ncontract 9 9\ntemplates 4 4\nchain 3 3\nrows 2 2\nscan_back 2 2'
  echo $'rows_in f32 1e-5\nrows_in tf32 2e-3\nrows_in bf16 2e-2'
  [ -n "$oracles" ] || return 0
  stack=$(sed -n 's/^set(stack \(.*\))$/\1/p' "$list")
  while read -r name arguments; do
    for compute in f32 tf32 bf16; do echo "reference $name $compute ${arguments//\$\{stack\}/$stack}"; done
  done < <(sed -e ':a' -e '/^oracle(.*[^)]$/{N;s/\n */ /;ba' -e '}' "$list" | sed -n 's/^oracle(\(.*\))$/\1/p')
}
export -f job test_part rows_in reference
export build oracles dhcc out
# shellcheck disable=SC2016
jobs | xargs -P "${JOBS:-$(($(nproc) * 3 / 2))}" -d '\n' -I{} bash -c 'job {}'
[ ! -e "$out/failed" ]
