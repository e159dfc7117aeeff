#!/usr/bin/env bash
# docs/research.md: the study is followed word for word, with a few generated images in place of CIFAR-10.
. "$(dirname "$0")/common.sh"
doc=$(cd "$(dirname "$0")/../.." && pwd)/docs/research.md
cd "$work" || exit 1
mkdir DIR
python3 - <<'P'
import random
random.seed(1)
for name, n in (("data_batch_1", 8), ("data_batch_2", 8), ("data_batch_3", 8), ("data_batch_4", 8), ("data_batch_5", 8), ("test_batch", 8)):
    with open("DIR/%s.bin" % name, "wb") as f:
        for i in range(n): f.write(bytes([i % 10]) + bytes(random.randrange(256) for _ in range(3072)))
P
python3 - "$doc" > commands.sh <<'P' || fail "no commands in $doc"
import re, sys
text = open(sys.argv[1]).read()
block = text.split("## A study, from nothing to a plot")[1].split("```")[1]
commands = re.sub(r"\\\n\s*", "", block).strip().split("\n")
assert len(commands) >= 3 and all(c.startswith("dhcc ") for c in commands), commands
print("\n".join(commands))
P
dhcc() { "$dhcc" "$@"; }
export PATH
n=0
while read -r line; do
  n=$((n + 1))
  (eval "$line") > "out$n" 2> "err$n" || fail "command $n: $line: $(tail -3 "err$n")"
done < commands.sh
[ "$(grep -c 'M3 A1' out1)" = 4 ] || fail "four orders: $(cat out1)"
[ "$(wc -l < study/results.csv)" = 10 ] || fail "nine runs: $(cat study/results.csv)"
cmp -s out2 out3 || fail "the third command found something to do: $(cat err3)"
grep -q '<figcaption>val_accuracy against the share of A</figcaption>' study.html || fail "no plot against the ratio"
# every column and field that is described is there, and no other
python3 - "$doc" <<'P' || fail "what is described"
import json, re, sys
text = open(sys.argv[1]).read()
def described(heading):
    rows = [line.split("|")[1] for line in text.split("### " + heading)[1].split("\n### ")[0].split("\n") if line.startswith("| `")]
    return re.findall(r"`([a-z0-9_]+)`", " ".join(rows))
header = open("study/results.csv").readline().strip().split(",")
assert described("results.csv") == header, (described("results.csv"), header)
doc = json.load(open("study/sweep.json"))
assert set(described("sweep.json")) == set(doc), set(described("sweep.json")) ^ set(doc)
for name in doc["settings"]: assert "`%s`" % name in text, name
for list in "variants", "runs", "summary":
    for row in doc[list]:
        for name in row: assert "`%s`" % name in text, (list, name)
P
finish
