"""OpenVINO on the same ONNX file, as its own format, compiled beforehand into its cache. Told f32: by itself it computes in bf16 where the
machine has it. Forward only. A stream's state is made OpenVINO's own, which it keeps between calls."""
import glob
import itertools
import os
import shutil

import openvino as ov

import exported


def cache(job):
    return "%s/openvino-%d" % (job.folder, job.threads)


def compiled(job):
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": job.threads, "PERFORMANCE_HINT": "LATENCY", "CACHE_DIR": cache(job)}
    return ov.Core().compile_model(job.folder + "/openvino.xml", "CPU", settings)


def prepare(job):
    if job.train:
        return
    if not os.path.exists(job.folder + "/openvino.xml"):
        shutil.rmtree(cache(job), ignore_errors=True)
        converted(job)
    compiled(job)


def converted(job):
    from openvino import passes

    model = ov.convert_model(exported.onnx(job))
    if job.mode == "step":
        manager = passes.Manager()
        manager.register_pass(passes.MakeStateful({i.any_name: o.any_name for i, o in zip(model.inputs[1:], model.outputs[1:])}))
        manager.run_passes(model)
    ov.save_model(model, job.folder + "/openvino.xml", compress_to_fp16=False)


class Peer:
    def __init__(self, job):
        if job.train:
            raise NotImplementedError("does not train")
        form = exported.form(job)
        self.note = "experts " + form if form else ""
        self.versions = {"openvino": ov.__version__.split("-")[0]}
        model = compiled(job)
        kept = glob.glob(cache(job) + "/*")
        self.files = [job.folder + "/openvino.xml", job.folder + "/openvino.bin", *kept]
        weights = os.path.getsize(self.files[1])
        self.weights_bytes = weights * (1 + sum(os.path.getsize(f) >= weights for f in kept))  # the cache may hold them once more
        request = model.create_infer_request()
        images = exported.tokens(job) if job.mode == "step" else [job.inputs["image"]]
        turn = itertools.cycle([ov.Tensor(i, shared_memory=True) for i in images])
        self.run = lambda: setattr(self, "last", request.infer({0: next(turn)}, share_inputs=True, share_outputs=True)[0])

    def output(self):
        return self.last


open = Peer
