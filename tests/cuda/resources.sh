#!/usr/bin/env bash
# resources.sh DHCC FILE [write]: what NVRTC makes of the contractions and convolutions of some models: threads of a block,
# registers and stack (spills among it) of a thread, block memory, against FILE, whose first line names the NVRTC that it is
# of; `write` writes it anew. With another NVRTC the kernels are compiled and counted. Exit 77, a skipped test, where there
# is no NVRTC.
dhcc=$1 file=$2
version=$("$dhcc" doctor | sed -n 's/^NVRTC *//p')
case $version in
*"no NVRTC"* | "") echo "skipped: no NVRTC on this machine" && exit 77 ;;
esac
table=$(
  echo "NVRTC $version"
  while IFS=, read -r model stage compute; do
    echo "== $model ${stage}resources $compute"
    "$dhcc" print "$model" "--stage=${stage}resources" --gpu-arch sm_90a --compute "$compute" --quiet |
      grep -E '^(dot|conv|conv_dw|ragged) ' || echo "failed"
  done <<'ROWS'
mlp,,f32
mlp,,tf32
dhc_ssm,,tf32
ROWS
)
if [ "${3:-}" = write ]; then
  echo "$table" > "$file"
elif [ "$(head -1 "$file")" = "NVRTC $version" ]; then
  diff "$file" - <<< "$table" || exit 1
else
  echo "this is NVRTC $version, and the table of another: counted only"
  diff <(sed 's/:.*//' "$file" | tail -n +2) <(sed 's/:.*//' <<< "$table" | tail -n +2) || exit 1
fi
