"""ONNX Runtime on the model that PyTorch exports, optimised beforehand. Forward only. A stream's state stays in its tensors, two sets
of them in turn."""
import itertools
import os

import numpy as np
import onnxruntime as ort

import exported


def options_of(threads):
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    return options


def prepare(job):
    if job.train or os.path.exists(job.folder + "/ort.onnx"):
        return
    options = options_of(job.threads)
    options.optimized_model_filepath = job.folder + "/ort.onnx"
    options.log_severity_level = 3  # it warns that the file is for this machine, which it is
    ort.InferenceSession(exported.onnx(job), options, providers=["CPUExecutionProvider"])


class Peer:
    def __init__(self, job):
        if job.train:
            raise NotImplementedError("trains through a package of its own, onnxruntime-training, whose last release is for an older version")
        form = exported.form(job)
        self.note = "experts " + form if form else ""
        self.versions = {"onnxruntime": ort.__version__}
        options = options_of(job.threads)
        if job.device == "cpu":
            options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL  # done in prepare
            self.files = [job.folder + "/ort.onnx"]
        else:
            self.files = [job.folder + "/model.onnx"]
        provider = "CPUExecutionProvider" if job.device == "cpu" else "CUDAExecutionProvider"
        self.session = ort.InferenceSession(self.files[0], options, providers=[provider])
        if job.mode == "step":
            self.stream(job)
        else:
            inputs = {"x": np.ascontiguousarray(job.inputs["image"])}
            self.run = lambda: setattr(self, "last", self.session.run(None, inputs)[0])

    def stream(self, job):
        tokens = exported.tokens(job)
        x, y = ort.OrtValue.ortvalue_from_numpy(tokens[0]), ort.OrtValue.ortvalue_from_numpy(np.zeros_like(tokens[0]))
        shapes = [i.shape for i in self.session.get_inputs()[1:]]
        sets = [[ort.OrtValue.ortvalue_from_numpy(np.zeros(s, np.float32)) for s in shapes] for _ in range(2)]
        turns = []
        for old, new in (sets, sets[::-1]):
            b = self.session.io_binding()
            b.bind_ortvalue_input("x", x)
            b.bind_ortvalue_output("y", y)
            for i, (a, n) in enumerate(zip(old, new)):
                b.bind_ortvalue_input("s%d" % i, a)
                b.bind_ortvalue_output("n%d" % i, n)
            turns.append(b)
        turn, token = itertools.cycle(turns), itertools.cycle(tokens)

        def run():
            x.update_inplace(next(token))
            self.session.run_with_iobinding(next(turn))
        self.run, self.output = run, y.numpy

    def output(self):
        return self.last


open = Peer
