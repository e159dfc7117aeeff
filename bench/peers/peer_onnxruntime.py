"""ONNX Runtime on the model that PyTorch exports. Forward only."""
import os

import numpy as np
import onnxruntime


def form(job):
    """Of a mixture of experts: an exported graph has one form for good."""
    if job.model == "dhc_ssm":
        return ""
    tokens = len(job.inputs["image"]) * (64 if job.sets.get("tokens") == "grid" else 1)
    return "gathered" if tokens <= 4 else "dense"


def prepare(job):
    """The model as FOLDER/model.onnx, for whoever reads ONNX."""
    path = job.folder + "/model.onnx"
    if os.path.exists(path) or job.train:
        return
    import torch

    import models

    model = models.load(models.build(job.model, job.sets), {k: torch.from_numpy(v) for k, v in job.weights.items()}).eval()
    models.set_form(model, form(job))
    with torch.no_grad():
        torch.onnx.export(model, (torch.from_numpy(job.inputs["image"]),), path + ".part", dynamo=False, opset_version=18, input_names=["x"],
                          output_names=["logits"])
    os.replace(path + ".part", path)


class Peer:
    def __init__(self, job):
        if job.train:
            raise NotImplementedError("trains through a package of its own, onnxruntime-training, whose last release is for an older version")
        self.note = "experts " + form(job) if form(job) else ""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = job.threads
        provider = "CPUExecutionProvider" if job.device == "cpu" else "CUDAExecutionProvider"
        self.files = [job.folder + "/model.onnx"]
        self.session = onnxruntime.InferenceSession(job.folder + "/model.onnx", options, providers=[provider])
        self.inputs = {"x": np.ascontiguousarray(job.inputs["image"])}
        self.versions = {"onnxruntime": onnxruntime.__version__}

    def run(self):
        self.last = self.session.run(None, self.inputs)[0]

    def output(self):
        return self.last


open = Peer
