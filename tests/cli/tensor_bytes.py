"""Writes names, places and bytes of a file's tensors to stdout: what is the same in two runs."""
import json
import struct
import sys

raw = open(sys.argv[1], "rb").read()
n = struct.unpack("<Q", raw[:8])[0]
head = json.loads(raw[8 : 8 + n])
head.pop("__metadata__")
sys.stdout.buffer.write(json.dumps(head, sort_keys=True).encode() + raw[8 + n :])
