"""dhcc's standalone object, called as any program would: a shared library with its weights, sizes bound; with one thread the
caller's, with more dhcc's pool (bench/peers/pool.c)."""
import ctypes
import itertools
import json
import os
import subprocess

import numpy as np


def prepare(job):
    if job.train:
        return
    entry, sets = [], []
    for k, v in job.sets.items():
        sets += ["--" + k, v] if k in ("preset", "root") else ["--set", "%s=%s" % (k, v)]
    if job.mode == "step":
        entry, bind = ["--entry", "step"], "B=1"
    else:
        batch, _, height, width = job.inputs["image"].shape
        bind = "B=%d,H=%d,W=%d" % (batch, height, width)
    subprocess.run([os.environ["DHC_PEERS_DHCC"], "build", job.model, *sets, *entry, "--weights", job.folder + "/weights.safetensors", "--bind", bind, "--name", "m",
                    "-o", job.folder + "/m.so", "--quiet"], check=True)


def aligned(n_bytes):
    block = np.empty(n_bytes + 64, np.uint8)
    return block[-block.ctypes.data % 64:][:n_bytes]


class Peer:
    def __init__(self, job):
        if job.train or job.device != "cpu":
            raise NotImplementedError("objects for other devices, and of training steps, are not called from here")
        path = job.folder + "/m.so"
        self.files, self.note = [path], ""
        self.library = library = ctypes.CDLL(path)
        self.executor = None
        if job.threads > 1:
            pool = ctypes.CDLL(os.environ["DHC_PEERS_POOL"])
            pool.bench_pool_exec.restype = ctypes.c_void_p
            self.executor = pool.bench_pool_exec(job.threads)
        entry = "step" if job.mode == "step" else "forward"
        self.call, room = getattr(library, "m_" + entry), getattr(library, "m_%s_workspace_bytes" % entry)
        room.restype = ctypes.c_int64
        self.work = aligned(room(job.threads))
        at = lambda a: ctypes.c_void_p(a.ctypes.data)
        end = (at(self.work), ctypes.c_int64(self.work.nbytes), ctypes.c_void_p(self.executor))
        if job.mode == "step":
            size = library.m_step_state_bytes
            size.restype = ctypes.c_int64
            self.state, self.tokens = aligned(size()), np.ascontiguousarray(job.inputs["x"])
            self.last = np.empty(self.tokens.shape[1:], np.float32)
            if library.m_reset(at(self.state), None, ctypes.c_int64(0), None):
                raise RuntimeError("the object refuses to begin a state")
            self.arguments = itertools.cycle((at(self.state), at(x), at(self.last), *end) for x in self.tokens)  # made when they are met, once
        else:
            self.image = np.ascontiguousarray(job.inputs["image"])
            self.last = np.empty((len(self.image), 10), np.float32)
            self.arguments = itertools.repeat((at(self.image), at(self.last), *end))

    def run(self):
        if self.call(*next(self.arguments)):
            raise RuntimeError("the object refuses")

    def output(self):
        return self.last

    @property
    def about(self):
        self.library.m_describe.restype = ctypes.c_char_p
        return json.loads(self.library.m_describe())

    @property
    def versions(self):
        return {"dhcc's objects": "ABI %s" % self.about["abi"]}

    @property
    def weights_bytes(self):
        return self.about["weights_bytes"]


open = Peer
