"""OpenVINO on the same ONNX file. Told f32: by itself it computes in bf16 where the machine has it. Forward only."""
import openvino

from peer_onnxruntime import form, prepare  # noqa: F401: the worker looks for prepare


class Peer:
    def __init__(self, job):
        if job.train:
            raise NotImplementedError("does not train")
        self.note = "experts " + form(job) if form(job) else ""
        settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": job.threads, "PERFORMANCE_HINT": "LATENCY"}
        self.request = openvino.Core().compile_model(job.folder + "/model.onnx", "CPU", settings).create_infer_request()
        self.image = job.inputs["image"]
        self.files = [job.folder + "/model.onnx"]
        self.versions = {"openvino": openvino.__version__.split("-")[0]}

    def run(self):
        self.last = self.request.infer({0: self.image}, share_inputs=True)[0]

    def output(self):
        return self.last


open = Peer
