#!/usr/bin/env bash
# explain: one table for the codes of every part. Each code in the source has a row, each row's
# example gives its code, and every code that a user can meet stands in some test.
. "$(dirname "$0")/common.sh"
source=$(cd "$(dirname "$0")/../.." && pwd)
"$dhcc" explain > "$work/list" || fail "explain without a code"
cut -d' ' -f1 "$work/list" > "$work/codes"
grep -rhoE --include='*.[chly]' '"E0[0-9]{3}"' "$source"/{ir,frontend,passes,backends,runtime,api,cli} | tr -d '"' | sort -u > "$work/used"
[ "$(wc -l < "$work/used")" -gt 60 ] || fail "the source has only $(wc -l < "$work/used") codes"
diff "$work/codes" "$work/used" >&2 || fail "codes listed (<) and used (>) differ"

"$dhcc" explain --json | python3 -c 'import json,sys; print(*json.load(sys.stdin)["codes"], sep="\n")' | diff - "$work/codes" || fail "explain --json"
while read -r code; do
  "$dhcc" explain "$code" --json > "$work/row" || fail "explain $code"
  python3 - "$work" "$code" <<'P' || fail "explain $code: incomplete"
import json, sys
e = json.load(open(sys.argv[1] + "/row"))
assert e["title"] and len(e["text"]) > 20 and e["example"], e
open(sys.argv[1] + "/example.dhc", "w").write(e["example"])
open(sys.argv[1] + "/command", "w").write(e["example_command"])
P
  read -r -a words < "$work/command" || true
  case $code in
    E0711 | E0720 | E0723 | E0801 | E0920 | E0921 | E0922) continue ;; # only a broken graph, or dhcc at fault, gets there
  esac
  if [ "${#words[@]}" = 0 ]; then # said in words: then another test meets it
    grep -rqE --include='*.sh' --include='*.c' --include='*.out' --include='*.err' --include='*.gir' "$code" "$source/tests" ||
      echo "$code" >> "$work/untested"
    continue
  fi
  [ "${words[0]}" = dhcc ] || fail "explain $code: command ${words[*]}"
  words=("${words[@]:1}")
  said=$("$dhcc" "${words[@]//FILE/$work/example.dhc}" 2>&1 </dev/null)
  case "$said" in
    *"[$code]"*) ;;
    *) fail "the example of $code says: $said" ;;
  esac
done < "$work/codes"
[ ! -e "$work/untested" ] || fail "in no test: $(tr '\n' ' ' < "$work/untested")"
expect 1 'no error code E0309x (did you mean E0309?)' "$dhcc" explain E0309x
expect 1 'dhcc explain lists them' "$dhcc" explain nonsense
expect 0 'dhcc check FILE' "$dhcc" explain E0308
finish
