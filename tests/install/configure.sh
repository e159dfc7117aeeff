#!/usr/bin/env bash
# configure.sh SOURCE COMPILER: `cmake -S . -B build` says in one line what is missing, and works without what
# only tests need. Libraries are taken away by their cache entries, packages by CMake's own switch.
set -u
source=$1 compiler=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fails=0
# configure STATUS 'text on one line of the output' option...
configure() {
  local want=$1 text=$2 out rc
  shift 2
  rm -rf "$work/build"
  out=$(cmake -S "$source" -B "$work/build" -DCMAKE_C_COMPILER="$compiler" "$@" 2>&1)
  rc=$?
  [ "$rc" = 0 ] && rc=0 || rc=1
  if [ "$rc" != "$want" ] || ! printf '%s\n' "$out" | tr -s ' \n' '  ' | grep -qF -- "$text"; then
    echo "FAILED: cmake $*: status $rc, want $want with \"$text\":"
    printf '%s\n' "$out"
    fails=$((fails + 1))
  fi
}
configure 0 "no tests: cmocka is missing (libcmocka-dev" -DCMOCKA_LIBRARY= -DDHC_LLVM=OFF
configure 1 "missing: LLVM 19 (llvm-19-dev, or -DDHC_LLVM=OFF: the interpreter alone); scripts/install-deps" -DLLVM_CONFIG=
configure 1 "missing: flex 2.6 (flex), bison 3.7 (bison), zlib (zlib1g-dev), cJSON (libcjson-dev), LLVM 19 (llvm-19-dev" \
  -DCMAKE_DISABLE_FIND_PACKAGE_FLEX=ON -DCMAKE_DISABLE_FIND_PACKAGE_BISON=ON -DCMAKE_DISABLE_FIND_PACKAGE_ZLIB=ON \
  -DCJSON_LIBRARY= -DLLVM_CONFIG=
[ "$fails" = 0 ] && echo ok
exit $((fails > 0))
