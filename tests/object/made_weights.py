#!/usr/bin/env python3
"""Made-up weights of a model, positive ones (variances are).

    made_weights.py DHCC FILE.safetensors MODEL [OPTION...]"""
import array
import json
import pathlib
import re
import subprocess
import sys


def write(path, graph):
    """Of the model that `dhcc print --stage=graph` has printed so."""
    header, data = {}, array.array("f")
    for name, dims in re.findall(r'^tensor "([^"]+)" (?:param|buffer) f32\[([^\]]*)\]', graph, re.M):
        shape, n, place = [int(d) for d in dims.split(",") if d.strip()], 1, 4 * len(data)
        for d in shape:
            n *= d
        data.extend(0.05 + 0.001 * (37 * i % 101) for i in range(n))
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [place, 4 * len(data)]}
    head = json.dumps(header).encode()
    pathlib.Path(path).write_bytes(len(head).to_bytes(8, "little") + head + data.tobytes())


if __name__ == "__main__":
    write(sys.argv[2], subprocess.run([sys.argv[1], "print", *sys.argv[3:], "--stage=graph"], check=True, capture_output=True, text=True).stdout)
