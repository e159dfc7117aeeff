"""checkpoints.py ROUNDTRIP [REFERENCES]: state dicts of the reference models, as PyTorch names
them and safetensors writes them, are loaded and saved again: the same names, shapes and bytes.

The names are written down here once more, from the modules of the reference; where the folder of
reference files is given, they are compared with the names in those files first."""
import json
import os
import random
import struct
import subprocess
import sys
import tempfile
import zlib


def linear(n_in, n_out, bias=True):
    d = {"weight": [n_out, n_in]}
    if bias:
        d["bias"] = [n_out]
    return d


def under(name, parts):
    return {name + "." + k: v for k, v in parts.items()}


def merged(*parts):
    d = {}
    for p in parts:
        d.update(p)
    return d


def conv(n_in, n_out):
    return {"weight": [n_out, n_in, 3, 3], "bias": [n_out]}


def mamba(d, n=16, k=4):
    e, r = 2 * d, -(-d // 16)
    return merged(
        {"A_log": [e, n], "D": [e]},
        under("in_proj", linear(d, 2 * e, False)),
        {"conv1d.weight": [e, 1, k], "conv1d.bias": [e]},
        under("x_proj", linear(e, r + 2 * n, False)),
        under("dt_proj", linear(r, e)),
        under("out_proj", linear(e, d, False)),
    )


def attention(d):
    return merged(*(under(p + "_proj", linear(d, d, False)) for p in ("q", "k", "v", "out")))


def swiglu(d):
    return merged(under("fc1", linear(d, 8 * d, False)), under("fc2", linear(4 * d, d, False)))


def moe(d, experts):
    return merged(under("gate", linear(d, experts, False)), *(under("experts.%d" % i, swiglu(d)) for i in range(experts)))


def stack(d, layers, ratio, frequency, experts):
    parts = []
    for i in range(layers):
        mixer = attention(d) if ratio == 0 or i % (ratio + 1) == ratio else mamba(d)
        ffn = moe(d, experts) if frequency > 0 and (i + 1) % frequency == 0 else swiglu(d)
        parts.append(under("layers.%d" % i, merged({"norm1.weight": [d]}, under("main_layer", mixer), {"norm2.weight": [d]}, under("ffn", ffn))))
    return merged(*parts, {"norm_f.weight": [d]})


def encoder(h):
    return merged(under("conv1", conv(3, h)), under("conv2", conv(h, 2 * h)), under("conv3", conv(2 * h, 4 * h)))


def classifier(h):
    return merged(under("classifier.0", linear(4 * h, 2 * h)), under("classifier.3", linear(2 * h, 10)))


def dhc_jamba(h, layers, experts, ratio=7):
    return merged(under("spatial_encoder", encoder(h)), under("jamba_model", stack(4 * h, layers, ratio, 2, experts)), classifier(h))


def dhc_ssm(h, n=64):
    ssm = {"A": [n, n], "B": [n, 4 * h], "C": [4 * h, n], "D": [4 * h, 4 * h]}
    return merged(under("spatial_encoder", encoder(h)), under("temporal_ssm", ssm), classifier(h))


def head(name, h, out):
    return merged(under(name + ".0", linear(h, h)), under(name + ".2", linear(h, out)))


def rl(h, obs, *heads):
    body = merged(under("input_proj.0", linear(obs, h)), {"input_proj.1.weight": [h], "input_proj.1.bias": [h]})
    return merged(body, under("jamba", stack(h, 4, 3, 0, 0)), *heads)


def rl_policy(h, obs, act):
    return rl(h, obs, head("output_proj", h, act))


def rl_value(h, obs):
    return rl(h, obs, head("value_head", h, 1))


def rl_actor_critic(h, obs, act):
    return rl(h, obs, head("actor_head", h, act), head("critic_head", h, 1))


def count(shape):
    n = 1
    for d in shape:
        n *= d
    return n


def header(path):
    with open(path, "rb") as f:
        n = struct.unpack("<Q", f.read(8))[0]
        return json.loads(f.read(n)), 8 + n


BLOCK = b"".join(struct.pack("<f", x) for x in map(random.Random(5).gauss, [0.0] * 65537, [1.0] * 65537))


def content(name, shape):
    """Numbers of a tensor's own: a block of normal ones, begun where the name says."""
    at, n = 4 * (zlib.crc32(name.encode()) % 65537), 4 * count(shape)
    return (BLOCK[at:] + BLOCK * (n // len(BLOCK) + 1))[:n]


def write(path, names):
    """As safetensors.torch.save_file does: a format key, the header padded with blanks."""
    head, at = {"__metadata__": {"format": "pt"}}, 0
    for k, shape in names.items():
        n = 4 * count(shape)
        head[k] = {"dtype": "F32", "shape": shape, "data_offsets": [at, at + n]}
        at += n
    text = json.dumps(head).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for k, shape in names.items():
            f.write(content(k, shape))


def compare(path, names):
    head, data = header(path)
    head.pop("__metadata__", None)
    problems = ["%s is not in the saved file" % k for k in names if k not in head]
    problems += ["%s is only in the saved file" % k for k in head if k not in names]
    with open(path, "rb") as f:
        for k, v in head.items():
            if k not in names:
                continue
            f.seek(data + v["data_offsets"][0])
            if v["dtype"] != "F32" or v["shape"] != names[k]:
                problems.append("%s was %s, is %s %s" % (k, names[k], v["dtype"], v["shape"]))
            elif f.read(v["data_offsets"][1] - v["data_offsets"][0]) != content(k, names[k]):
                problems.append("%s has other bytes" % k)
    return problems


CASES = [  # names, parameters (None: no published figure), model arguments
    (dhc_jamba(32, 4, 4), 2536330, ["dhc_jamba", "small"]),
    (dhc_jamba(64, 8, 8), 32055562, ["dhc_jamba", "medium"]),
    (dhc_jamba(8, 4, 4, 3), None, ["dhc_jamba", "-", "hidden_dim=8", "num_layers=4", "num_heads=4", "mamba_ratio=3", "num_experts=4"]),
    (dhc_jamba(4, 3, 16, 0), None, ["dhc_jamba", "-", "hidden_dim=4", "num_layers=3", "num_heads=4", "mamba_ratio=0", "num_experts=16"]),
    (rl_policy(128, 8, 2), 1220738, ["rl_policy", "-", "obs=8", "act=2"]),
    (rl_value(128, 17), 1221761, ["rl_value", "-", "obs=17"]),
    (rl_actor_critic(128, 17, 6), 1239047, ["rl_actor_critic", "-", "obs=17", "act=6"]),
    (dhc_ssm(16), None, ["dhc_ssm", "-", "hidden_dim=16"]),
    (dhc_ssm(64), None, ["dhc_ssm", "-", "hidden_dim=64"]),
]
REFERENCES = {
    "dhc_jamba": dhc_jamba(8, 4, 4, 3),
    "rl_policy": rl_policy(32, 17, 6),
    "rl_value": rl_value(32, 17),
    "rl_actor_critic": rl_actor_critic(32, 17, 6),
    "dhc_ssm": dhc_ssm(16),
    "train_dhc_ssm": dhc_ssm(8),
    "train_dhc_jamba": dhc_jamba(4, 4, 4, 3),
}


def main():
    tool, folder = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None
    failed = 0

    def fail(what):
        nonlocal failed
        failed += 1
        print("FAILED:", what)

    for name, names in REFERENCES.items():
        path = folder and os.path.join(folder, name + ".safetensors")
        if not path or not os.path.exists(path):
            continue
        have = {k[6:]: v["shape"] for k, v in header(path)[0].items() if k.startswith("param.")}
        if have != names:
            odd = [k for k in sorted(set(have) | set(names)) if have.get(k) != names.get(k)]
            fail("%s: the reference has other names or shapes: %s" % (name, odd[:5]))
    with tempfile.TemporaryDirectory() as work:
        before, after = os.path.join(work, "model.safetensors"), os.path.join(work, "saved.safetensors")

        def roundtrip(args):
            r = subprocess.run([tool, before, after] + args, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            return r.returncode, r.stdout

        for names, parameters, args in CASES:
            total = sum(count(s) for s in names.values())
            if parameters and total != parameters:
                fail("%s: these names have %d parameters, want %d" % (args, total, parameters))
            write(before, names)
            code, text = roundtrip(args)
            if code or text != "%d parameters\n" % total:
                fail("%s: exit %d, %s" % (args, code, text))
                continue
            for p in compare(after, names):
                fail("%s: %s" % (args, p))
        # What does not fit is refused by name.
        whole, args = dhc_jamba(8, 4, 4, 3), CASES[2][2]
        expert = "jamba_model.layers.3.ffn.experts.2.fc1.weight"
        wrong = [
            ({k: v for k, v in whole.items() if k != expert}, expert),
            (merged(whole, {expert: [32, 256]}), "'%s' is [32,256], the model needs [256,32]" % expert),
        ]
        for names, message in wrong:
            write(before, names)
            code, text = roundtrip(args)
            if code != 1 or message not in text:
                fail("exit %d, no \"%s\" in %s" % (code, message, text))
    print("%d checkpoints, %d wrong" % (len(CASES), failed))
    return failed > 0


sys.exit(main())
