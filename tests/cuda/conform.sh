#!/usr/bin/env bash
# conform.sh BUILD [ORACLES]: a GPU beside what kernels mean. All of test_backends_* that run on one, side by side; the rows of
# bench_gpu, none farther from exact sums than `verify` takes of outputs; the reference files of ORACLES in each way to compute.
# A line for each; exit 1 if one is wrong, 77 where there is no GPU.
build=$1 oracles=$2 dhcc=$1/cli/dhcc wrong=0
tests='rows scan_back templates contract chain fused_ops fused_random'
"$dhcc" doctor | grep -q '^GPU .*sm_' || { echo "skipped: no GPU" && exit 77; }
out=$(mktemp -d) && trap 'rm -rf "$out"' EXIT
for test in $tests; do
  (DHC_TEST_BACKEND=cuda "$build/tests/backends/test_backends_$test" > "$out/$test" 2>&1 || touch "$out/$test.failed") &
done
wait
for test in $tests; do
  echo "$test: $(grep -h 'compiled,\|outputs with\|kernels run' "$out/$test" | paste -sd ';')"
  [ -e "$out/$test.failed" ] && wrong=1 && echo "$test: FAILED" && grep -v '^\[.*\(OK\|RUN\)' "$out/$test" | tail -12
done
bits() { # COMPUTE MOST
  "$build/bench/bench_gpu" "$1" > "$out/rows" || return 1
  awk -v most="$2" -v compute="$1" '/ error / { sub(/.* error */, ""); n++; if ($1 ~ /nan/) next; if (!($1 + 0 <= most)) bad++; if ($1 + 0 > far) far = $1 + 0 }
    END { printf "%s: %d products and convolutions, at most %.1e from exact sums, %d of them beyond %s\n", compute, n, far, bad, most; exit bad > 0 || n == 0 }' "$out/rows"
}
bits f32 1e-5 || wrong=1
bits tf32 2e-3 || wrong=1
bits bf16 2e-2 || wrong=1
reference() { # NAME VERIFY'S ARGUMENTS...
  local name=$1 compute
  shift
  for compute in f32 tf32 bf16; do
    if "$dhcc" verify "$@" --backend cuda --compute $compute --oracle "$oracles/$name.safetensors" > "$out/$name.$compute" 2>&1; then
      echo "$name $compute: every row"
    else
      touch "$out/$name.failed" && echo "$name $compute: FAILED" && tail -5 "$out/$name.$compute"
    fi
  done
}
[ -n "$oracles" ] || exit $wrong
list=$(dirname "$0")/../oracles/CMakeLists.txt
stack=$(sed -n 's/^set(stack \(.*\))$/\1/p' "$list")
while read -r name arguments; do # side by side: most of their time is compiling
  # shellcheck disable=SC2086
  reference "$name" ${arguments//\${stack\}/$stack} > "$out/$name.lines" &
done < <(sed -e ':a' -e '/^oracle(.*[^)]$/{N;s/\n */ /;ba' -e '}' "$list" | sed -n 's/^oracle(\(.*\))$/\1/p')
wait
cat "$out"/*.lines
[ -z "$(ls "$out"/*.failed 2> /dev/null)" ] || wrong=1
exit $wrong
