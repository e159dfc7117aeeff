# Shared by the scripts of this folder: a private folder, a kernel store, and checks. The store is that of the build's
# tests, where each kernel is compiled once; a script that counts what is compiled sets own_store=1 before.
# shellcheck shell=bash
set -u
dhcc=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export XDG_CACHE_HOME=$work/cache NO_COLOR=1 LC_ALL=C
[ -n "${own_store:-}" ] || XDG_CACHE_HOME=${DHC_TEST_STORE:-$XDG_CACHE_HOME}
fails=0

fail() {
  echo "FAILED: $*"
  fails=$((fails + 1))
}

# expect STATUS 'text that must appear in the output (stdout or stderr)' command...
expect() {
  local want=$1 text=$2 out rc
  shift 2
  out=$("$@" 2>&1)
  rc=$?
  [ "$rc" = "$want" ] || fail "exit $rc, want $want: $* :: $out"
  case "$out" in
    *"$text"*) ;;
    *) fail "no \"$text\" in the output of $* :: $out" ;;
  esac
}

# number KEY < json: the value of a top-level number
number() {
  python3 -c 'import json,sys; print(json.load(sys.stdin)[sys.argv[1]])' "$1"
}

finish() {
  [ "$fails" = 0 ] && echo "ok"
  exit $((fails > 0))
}
