#!/usr/bin/env bash
# lsp: the language server, and the grammars for editors: their words are those of the scanner.
. "$(dirname "$0")/common.sh"
here=$(cd "$(dirname "$0")" && pwd)
python3 "$here/lsp.py" "$dhcc" "$work" || fail "the language server"
printf 'Content-Length: 9\r\n\r\nno JSON.\n' | "$dhcc" lsp > "$work/out" || fail "what is no message ends it"
[ ! -s "$work/out" ] || fail "it answers what is no message"
python3 - "$here/../.." <<'P' || fail "grammars"
import json, pathlib, re, sys
root = pathlib.Path(sys.argv[1])
words = set(re.findall(r'^"([a-z_]+)"\s+\{ return T_(?!BAD)', (root / "frontend/scan.l").read_text(), re.M))
assert len(words) > 30
grammar = json.loads((root / "docs/editors/vscode/syntaxes/dhc.tmLanguage.json").read_text())
listed = [w for p in grammar["repository"]["word"]["patterns"] for w in re.match(r"\\b\((.*)\)\\b$", p["match"]).group(1).split("|")]
assert sorted(listed) == sorted(words), set(listed) ^ words
vim = (root / "docs/editors/vim/syntax/dhc.vim").read_text()
listed = [w for k, l in re.findall(r"^syn keyword (\w+) (.*)$", vim, re.M) if k != "dhcType" for w in l.split()]
assert sorted(listed) == sorted(words), set(listed) ^ words
dtypes = set(re.findall(r'^DHC_DTYPE\(\w+, "(\w+)"', (root / "include/dhc/dtypes.def").read_text(), re.M))
types = re.search(r"^syn keyword dhcType (.*)$", vim, re.M).group(1).split()
assert dtypes and dtypes == set(types) - set("int float string enum list map".split()), dtypes ^ set(types)
package = json.loads((root / "docs/editors/vscode/package.json").read_text())
for path in [package["main"], package["contributes"]["languages"][0]["configuration"], package["contributes"]["grammars"][0]["path"]]:
    assert (root / "docs/editors/vscode" / path).exists(), path
json.loads((root / "docs/editors/vscode/language-configuration.json").read_text())
for pattern in re.findall(r'"(?:match|begin|end)": "((?:[^"\\]|\\.)*)"', (root / "docs/editors/vscode/syntaxes/dhc.tmLanguage.json").read_text()):
    re.compile(json.loads('"%s"' % pattern))
P
finish
