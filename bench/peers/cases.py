"""What is measured, a row each, and the peers. A case on another device or through another kind of artefact is one more
row; a peer one more file.

A model is a shipped one or a file of bench/models, which has the same model in PyTorch beside it. `sets` goes to all peers: `preset` and hyperparameters of the model; dropout is 0, so that outputs can be compared."""
import os
from typing import NamedTuple

from presets import STACK

PEERS = ("dhcc", "peer_object", "peer_torch", "peer_compile", "peer_onnxruntime", "peer_openvino", "peer_jax", "peer_graph")
CPU = PEERS[:-1]
NAMES = {"dhcc": "dhcc", "peer_object": "dhcc's object", "peer_torch": "PyTorch eager", "peer_compile": "torch.compile", "peer_onnxruntime": "ONNX Runtime",
         "peer_openvino": "OpenVINO f32", "peer_jax": "JAX", "peer_graph": "PyTorch in a CUDA graph", "peer_executorch": "ExecuTorch", "peer_aoti": "AOTInductor", "peer_iree": "IREE", "peer_tvm": "TVM"}

STACKED = 2e-2


class Case(NamedTuple):
    name: str
    model: str
    mode: str  # run, train, step: one token after the other on a state
    batch: int
    sets: dict = {}
    device: str = ""  # "": processor; "cuda" goes to dhcc as backend, to the others as device
    compute: str = ""  # of dhcc's contractions there
    tolerance: float = 1e-4  # of results, relative
    later: float = 1e-4  # of losses after the second step: see README.md on experts that no token reaches
    image: tuple = (3, 32, 32)
    tokens: tuple = ()  # (length, vocabulary): sequences in place of images, with a target a token
    pixels: int = 0  # classes of a target a pixel
    sizes: dict = {}  # of the entry, where they are not those of image or tokens; 0: it has none of that name
    peers: tuple = CPU

MODELS = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "models")
FAMILIES = {  # batches: forward, training step
    "gpt2": ((1, 4), dict(tokens=(128, 8192))),
    "llama": ((1, 4), dict(tokens=(128, 8192))),
    "vit": ((1, 16), {}),
    "resnet": ((1, 16), dict(later=5e-2)),  # batch norms of few images: a rounding of the first steps shows in the third loss
    "convnext": ((1, 8), dict(image=(3, 64, 64))),
    "unet": ((1, 4), dict(image=(3, 64, 64), pixels=10, sizes={"H": 8, "W": 8})),
    "gru": ((1, 16), dict(tokens=(64, 256))),
}


def families():
    for name, ((few, many), what) in FAMILIES.items():
        for mode, batch in (("run", few), ("run", many), ("train", many)):
            yield Case("%s-%s-%d" % (name, "forward" if mode == "run" else mode, batch), os.path.join(MODELS, name + ".dhc"), mode, batch,
                       peers=("dhcc", "peer_torch", "peer_compile"), **{"later": 1e-3, **what})


def rows():
    for batch in (1, 16, 256):
        yield Case("ssm-forward-%d" % batch, "dhc_ssm", "run", batch, {"dropout": "0.0"})
    for batch in (16, 128):
        yield Case("ssm-train-%d" % batch, "dhc_ssm", "train", batch, {"dropout": "0.0"})
    for preset in ("small", "medium"):
        for batch in (1, 16, 256):
            yield Case("%s-forward-%d" % (preset, batch), "dhc_jamba", "run", batch, {"preset": preset, "dropout": "0.0"})
        for batch in (16, 128):
            yield Case("%s-train-%d" % (preset, batch), "dhc_jamba", "train", batch, {"preset": preset, "dropout": "0.0"}, later=STACKED)
    grid = {"preset": "medium", "tokens": "grid", "dropout": "0.0"}
    for batch in (1, 16, 64):
        yield Case("medium-grid-forward-%d" % batch, "dhc_jamba", "run", batch, grid)
    yield Case("medium-grid-train-16", "dhc_jamba", "train", 16, grid, later=STACKED)
    yield Case("large-forward-1", "dhc_jamba", "run", 1, {"preset": "large", "dropout": "0.0"})


def blocks():
    """A Mamba block, an attention block, a mixture of experts: one sequence. torch.compile would unroll Mamba's steps. And a policy with its value."""
    for batch in (1, 256):
        yield Case("actor-forward-%d" % batch, os.path.join(MODELS, "actor.dhc"), "run", batch, image=(1, 1, 17), sizes={"H": 0, "W": 0}, peers=("dhcc", "peer_torch", "peer_compile"))
    for kind in ("mamba", "attention", "experts"):
        for length in (64, 512, 4096):
            yield Case("%s-block-%d" % (kind, length), os.path.join(MODELS, "block.dhc"), "run", 1, {} if kind == "mamba" else {kind: "true"}, tokens=(length, 32),
                       peers=("dhcc", "peer_torch") if kind == "mamba" else ("dhcc", "peer_torch", "peer_compile"))


def gpu(model, mode, batch, **sets):
    """A row of the table of GPUs: contractions in tf32 for both."""
    name = "-".join(["gpu", "ssm" if model == "dhc_ssm" else sets["preset"], *(["grid"] if "tokens" in sets else []), "forward" if mode == "run" else mode, str(batch)])
    experts = model == "dhc_jamba"  # one of 256 images that goes to another expert shows in the norm
    return Case(name, model, mode, batch, {**sets, "dropout": "0.0"}, "cuda", "tf32", tolerance=STACKED if experts else 5e-3, later=STACKED,
                peers=("dhcc", "peer_graph") if "tokens" in sets else ("dhcc", "peer_graph", "peer_compile"))


def gpus():
    for batch in (1, 16, 256):
        yield gpu("dhc_ssm", "run", batch)
    yield gpu("dhc_ssm", "train", 16)
    for mode, batches in (("run", (1, 16, 256)), ("train", (16, 128))):
        for batch in batches:
            yield gpu("dhc_jamba", mode, batch, preset="medium")
    for mode in ("run", "train"):
        yield gpu("dhc_jamba", mode, 16, preset="large")
        for batch in (16, 128):
            yield gpu("dhc_jamba", mode, batch, preset="medium", tokens="grid")


CASES = {c.name: c for c in (*rows(), *families(), *blocks())}
GPU_CASES = {c.name: c for c in gpus()}  # none of them runs unless asked for

# What is deployed: deploy.py. A step is that of medium's stack, causal, with a window of keys.
STEP = {"root": "JambaStack", **{k: str(v) for k, v in STACK.items()}, "causal": "true", "max_len": str(STACK["window"]), "dropout": "0.0"}
DEPLOY = (CASES["ssm-forward-1"], Case("medium-step", "layers/jamba", "step", 1, STEP), CASES["medium-forward-1"])
