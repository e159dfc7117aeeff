"""What peers that take a graph are given: the PyTorch model as a module of tensors to tensors, its example inputs, and as ONNX."""
import os

import numpy as np


def form(job):
    """Of a mixture of experts: an exported graph has one form for good."""
    if job.model == "dhc_ssm":
        return ""
    if job.mode == "step":
        return "turned"
    tokens = len(job.inputs["image"]) * (64 if job.sets.get("tokens") == "grid" else 1)
    return "turned" if tokens <= 4 else "dense"


def module(job, experts=None):
    """The module and its example inputs: an image; of a stream a token and the state."""
    import torch

    import models
    import models_step

    if job.mode == "step":
        model = models_step.load(job.weights)
        inputs = (torch.from_numpy(job.inputs["x"][0, :, 0]), *model.state())
    else:
        model = models.load(models.build(job.model, job.sets), {k: torch.from_numpy(v) for k, v in job.weights.items()}).eval()
        inputs = (torch.from_numpy(job.inputs["image"]),)
    return models.set_form(model.requires_grad_(False), experts or form(job)), inputs


def names(job, inputs):
    """Of what goes in and comes out: state s3 comes out as n3."""
    if job.mode != "step":
        return ["x"], ["logits"]
    n = len(inputs) - 1
    return ["x"] + ["s%d" % i for i in range(n)], ["y"] + ["n%d" % i for i in range(n)]


def onnx(job):
    """The model as FOLDER/model.onnx, for whoever reads ONNX."""
    path = job.folder + "/model.onnx"
    if os.path.exists(path) or job.train:
        return path
    import torch

    model, inputs = module(job)
    ins, outs = names(job, inputs)
    with torch.no_grad():
        torch.onnx.export(model, inputs, path + ".part", dynamo=False, opset_version=18, input_names=ins, output_names=outs)
    os.replace(path + ".part", path)
    return path


def tokens(job):
    """A stream's tokens, each [1, d]."""
    return np.ascontiguousarray(job.inputs["x"][:, :, 0])


def shapes(job):
    """Of a stream's state, without the model."""
    from presets import STACK as s

    inner, size = 2 * s["d_model"], s["d_model"] // s["num_heads"]
    mamba, attention = [(1, 3, inner), (1, inner, 16)], 2 * [(1, s["num_heads"], s["window"] - 1, size)] + [(1,)]
    return [d for i in range(s["num_layers"]) for d in (attention if i % (s["mamba_ratio"] + 1) == s["mamba_ratio"] else mamba)]
