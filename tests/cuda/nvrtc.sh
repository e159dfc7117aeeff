#!/usr/bin/env bash
# nvrtc.sh DHCC STAGE COMPUTE MODEL...: NVRTC compiles every kernel of the models at a stage ("", "train."); each
# has an entry in the PTX, and in tf32 and bf16 some have matrix instructions of that kind. Exit 77, a skipped test, where there is no NVRTC.
dhcc=$1 stage=$2 compute=$3
shift 3
if "$dhcc" doctor | grep -q '^NVRTC.*no NVRTC'; then
  echo "skipped: no NVRTC on this machine"
  exit 77
fi
for m; do
  want=$("$dhcc" print "$m" "--stage=${stage}cuda" --gpu-arch sm_90a --compute "$compute" | grep -c __global__)
  ptx=$("$dhcc" print "$m" "--stage=${stage}ptx" --gpu-arch sm_90a --compute "$compute") || exit 1
  got=$(grep -c '^\.visible \.entry' <<< "$ptx")
  tiles=$(grep -c '^[[:space:]]*mma\.sync' <<< "$ptx")
  own=$(grep -c "^[[:space:]]*mma\.sync.*\.$compute\.$compute" <<< "$ptx")
  echo "$m: $got kernels"
  [ "$compute" = f32 ] && [ "$tiles" != 0 ] && { echo "$m: matrix instructions in exact f32"; exit 1; }
  [ "$compute" != f32 ] && [ "$own" = 0 ] && { echo "$m: no matrix instructions in $compute"; exit 1; }
  [ "$compute" != f32 ] && [ "$own" != "$tiles" ] && { echo "$m: matrix instructions of another kind than $compute"; exit 1; }
  [ "$want" -gt 0 ] && [ "$want" = "$got" ] || { echo "$m: $want kernels written, $got compiled"; exit 1; }
done
