#!/usr/bin/env bash
# nvrtc.sh DHCC STAGE MODEL...: NVRTC compiles every kernel of the models at a stage ("", "train."); each has
# an entry in the PTX. Exit 77, a skipped test, where there is no NVRTC.
dhcc=$1 stage=$2
shift 2
if "$dhcc" doctor | grep -q '^NVRTC.*no NVRTC'; then
  echo "skipped: no NVRTC on this machine"
  exit 77
fi
for m; do
  want=$("$dhcc" print "$m" "--stage=${stage}cuda" --gpu-arch sm_90a | grep -c __global__)
  got=$("$dhcc" print "$m" "--stage=${stage}ptx" --gpu-arch sm_90a | grep -c '^\.visible \.entry') || exit 1
  echo "$m: $got kernels"
  [ "$want" -gt 0 ] && [ "$want" = "$got" ] || { echo "$m: $want kernels written, $got compiled"; exit 1; }
done
