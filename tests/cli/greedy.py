"""Greedy generation against the whole sequence at once: greedy.py DHCC DOCUMENT PROMPT ARGUMENTS...
Every token of the document must be the likeliest after all before it, up to rounding."""
import json
import struct
import subprocess
import sys

from agree import load, npy

dhcc, document, prompt, arguments = sys.argv[1], sys.argv[2], sys.argv[3].encode(), sys.argv[4:]
new = json.load(open(document))["tokens"]
tokens = list(prompt) + new
npy("tokens.npy", "<i8", (1, len(tokens)), struct.pack("<%dq" % len(tokens), *tokens))
subprocess.run([dhcc, "run", "--entry", "forward", "--inputs", "tokens=tokens.npy", "-o", "whole.safetensors", "--quiet"] + arguments, check=True)
logits = load("whole.safetensors")["logits"]
vocabulary = len(logits) // len(tokens)
if not new or vocabulary * len(tokens) != len(logits):
    sys.exit("%d new tokens, %d logits of %d tokens" % (len(new), len(logits), len(tokens)))
for i, token in enumerate(new):
    at = len(prompt) - 1 + i
    row = logits[at * vocabulary : (at + 1) * vocabulary]
    if not all(abs(v) < float("inf") for v in row):
        sys.exit("logits of token %d are not finite" % i)
    if not row[token] >= max(row) - 1e-4:
        sys.exit("token %d is %d (%g), the likeliest is %d (%g)" % (i, token, row[token], row.index(max(row)), max(row)))
