"""doc_names.py SOURCE: whatever an example of docs/language.md calls exists: a builtin, a function of models/std, a layer
of models/layers, or something that an example declares. Names in capitals are layers of the reader's."""
import os
import re
import sys

source = sys.argv[1]


def read(*path):
    with open(os.path.join(source, *path), encoding="utf-8") as f:
        return f.read()


known = set(re.findall(r"^BUILTIN\((\w+)", read("frontend", "builtins.def"), re.M))
known |= set(re.findall(r'"([a-z_0-9]+)"', read("ir", "ops.def")))
for folder in ("std", "layers"):
    for name in sorted(os.listdir(os.path.join(source, "models", folder))):
        text = read("models", folder, name)
        known |= set(re.findall(r"^\s*(?:fn|layer|model)\s+(\w+)", text, re.M))
        known |= set(re.findall(r"^\s*(\w+)(?:<[^>]*>)?\([^)]*\)\s*(?:->|\{)", text, re.M))
blocks = re.findall(r"^```\n(.*?)^```", read("docs", "language.md"), re.S | re.M)
whole = "\n".join(blocks)
known |= set(re.findall(r"\b(?:fn|layer|model|preset|metric|recipe)\s+(\w+)", whole))  # declared in an example
known |= set(re.findall(r"^\s*(?:metric )?(\w+)(?:<[^>]*>)?\([^)]*\)\s*(?:->|\{)", whole, re.M))  # an entry
known |= set(re.findall(r"^\s*(\w+)(?:\[[^]]*\])*\s*=", whole, re.M))  # a member or value
known |= {"enum", "in", "over", "scan", "and", "or", "not", "if", "for", "as", "along", "unit", "checkpoint", "lr"}
bad = 0
for block in blocks:
    for line in block.split("\n"):
        line = re.sub(r'"[^"]*"', '""', line.split("#")[0])
        for name in re.findall(r"(?<![\w.])([a-z_]\w*)\(", line):
            if name not in known:
                print("docs/language.md calls %s(...), which does not exist: %s" % (name, line.strip()))
                bad += 1
print("%d examples, %d unknown names" % (len(blocks), bad))
sys.exit(1 if bad or len(blocks) < 8 else 0)
