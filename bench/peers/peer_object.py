"""dhcc's standalone object, called as any program would: a shared library with its weights, sizes bound, one thread."""
import ctypes
import json
import os
import subprocess

import numpy as np


def prepare(job):
    sets = []
    for k, v in job.sets.items():
        sets += ["--preset", v] if k == "preset" else ["--set", "%s=%s" % (k, v)]
    batch, _, height, width = job.inputs["image"].shape
    if not job.train:
        subprocess.run([os.environ["DHC_PEERS_DHCC"], "build", job.model, *sets, "--weights", job.folder + "/weights.safetensors",
                        "--bind", "B=%d,H=%d,W=%d" % (batch, height, width), "--name", "m", "-o", job.folder + "/m.so", "--quiet"], check=True)


def aligned(n_bytes):
    block = np.empty(n_bytes + 64, np.uint8)
    return block[-block.ctypes.data % 64:][:n_bytes]


class Peer:
    def __init__(self, job):
        if job.train or job.device != "cpu":
            raise NotImplementedError("objects do not train, and run on processors")
        if job.threads != 1:
            raise NotImplementedError("runs in the calling thread: --threads 1")
        path = job.folder + "/m.so"
        library = ctypes.CDLL(path)
        library.m_describe.restype = ctypes.c_char_p
        self.versions = {"dhcc's objects": "ABI %s" % json.loads(library.m_describe())["abi"]}
        self.files = [path]
        self.note = "%.1f MB, weights included" % (os.path.getsize(path) / 1e6)
        library.m_forward_workspace_bytes.restype = ctypes.c_int64
        self.work = aligned(library.m_forward_workspace_bytes(1))
        self.image = np.ascontiguousarray(job.inputs["image"])
        self.logits = np.empty((len(self.image), 10), np.float32)
        self.call = library.m_forward
        self.arguments = (ctypes.c_void_p(self.image.ctypes.data), ctypes.c_void_p(self.logits.ctypes.data), ctypes.c_void_p(self.work.ctypes.data),
                          ctypes.c_int64(self.work.nbytes), None)

    def run(self):
        if self.call(*self.arguments):
            raise RuntimeError("the object refuses")

    def output(self):
        return self.logits


open = Peer
