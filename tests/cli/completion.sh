#!/usr/bin/env bash
# completion, man: what they write is what the tables of commands and options have, and shells and groff take it.
. "$(dirname "$0")/common.sh"
cd "$work" || exit 1
PATH=$(dirname "$dhcc"):$PATH
for shell in bash zsh fish; do "$dhcc" completion $shell > c.$shell || fail "completion $shell"; done
bash -n c.bash || fail "bash refuses it"
ask() { # words...: what the last of them is completed to
  bash -c 'source c.bash; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _dhcc; printf "%s\n" "${COMPREPLY[@]}"' bash "$@"
}
[ "$(ask dhcc tra)" = train ] || fail "tra: $(ask dhcc tra)"
[ "$(ask dhcc train --epo)" = --epochs ] || fail "--epo: $(ask dhcc train --epo)"
[ "$(ask dhcc info mlp --epo)" = "" ] || fail "info has no --epochs: $(ask dhcc info mlp --epo)"
[ "$(ask dhcc train dhc_s)" = dhc_ssm ] || fail "a model: $(ask dhcc train dhc_s)"
[ "$(ask dhcc train mlp --backend c)" = "$(printf 'cpu\ncuda')" ] || fail "a backend: $(ask dhcc train mlp --backend c)"
[ "$(ask dhcc print mlp --stage fu)" = fused ] || fail "a stage: $(ask dhcc print mlp --stage fu)"
: > weights.safetensors
[ "$(ask dhcc run mlp --weights wei)" = weights.safetensors ] || fail "a file: $(ask dhcc run mlp --weights wei)"
for shell in zsh fish; do
  command -v $shell > /dev/null || continue
  $shell -n c.$shell || fail "$shell refuses it"
done
if command -v fish > /dev/null; then
  got=$(HOME=$work fish --no-config -c 'source c.fish; complete -C "dhcc train --epo"' 2>&1)
  case $got in --epochs*) ;; *) fail "fish: $got" ;; esac
fi
python3 - "$dhcc" "$(dirname "$0")/../../cli/options.def" <<'P' || fail "pages"
import re, shutil, subprocess, sys
def run(*a): return subprocess.run([sys.argv[1], *a], check=True, capture_output=True, text=True).stdout
commands = re.findall(r"^  ([a-z]+) ", run("--help").split("Those of every command")[0], re.M)
assert len(commands) > 20, commands
for shell in ("bash", "zsh", "fish"):
    text = open("c." + shell).read()
    for c in commands: assert re.search(r"\b%s\b" % c, text), (shell, c)
    for o in re.findall(r'^OPT\("([a-z-]+)"', open(sys.argv[2]).read(), re.M): assert (("-l " if shell == "fish" else "--") + o) in text, (shell, o)
pages = {c: run("man", c) for c in commands} | {"": run("man")}
for c in commands:
    want = re.findall(r"^  --([a-z-]+)", run(c, "--help"), re.M)
    have = [x.replace("\\-", "-") for x in re.findall(r"^\.B \\-\\-([a-z\\-]+)", pages[c], re.M)]
    assert want == have, (c, want, have)
    assert "dhcc\\-%s \\-" % c in pages[c] and "dhcc\\-%s (1)" % c in pages[""], c
if shutil.which("groff"):
    for c, page in pages.items():
        p = subprocess.run(["groff", "-man", "-Tutf8", "-ww"], input=page, capture_output=True, text=True)
        assert p.returncode == 0 and not p.stderr, (c, p.stderr)
        assert "EXIT STATUS" in re.sub(".\x08", "", p.stdout), c
P
expect 2 'completion: needs bash, zsh or fish, got "csh"' "$dhcc" completion csh
expect 2 'man: there is no command trian' "$dhcc" man trian
finish
