"""TVM's Relax, compiled ahead of time for this processor from the exported program. Forward only."""
import itertools
import os
import subprocess

import tvm
from tvm import relax

import exported


def target():
    host = subprocess.run(["gcc", "-march=native", "-Q", "--help=target"], capture_output=True, text=True).stdout
    return tvm.target.Target({"kind": "llvm", "mcpu": next(line.split()[1] for line in host.splitlines() if line.strip().startswith("-march="))})


def prepare(job):
    if os.path.exists(job.folder + "/tvm.so"):
        return
    import torch
    from tvm.relax.frontend.torch import from_exported_program

    model, inputs = exported.module(job)
    with torch.no_grad():
        mod = from_exported_program(torch.export.export(model, inputs), keep_params_as_input=False, unwrap_unit_return_tuple=True)
    tvm.compile(mod, target=target()).export_library(job.folder + "/tvm.so")


class Peer:
    def __init__(self, job):
        self.versions, self.files, self.note = {"apache-tvm": tvm.__version__}, [job.folder + "/tvm.so"], ""
        form = exported.form(job)
        self.note = "not tuned" + (", experts " + form if form else "")
        vm = relax.VirtualMachine(tvm.runtime.load_module(self.files[0]), tvm.cpu())
        tvm.get_global_func("runtime.config_threadpool")(1, job.threads)
        put = lambda a: tvm.runtime.tensor(a, tvm.cpu())
        call = vm["main"]
        if job.mode != "step":
            image = put(job.inputs["image"])
            self.run = lambda: setattr(self, "last", call(image))
            return
        import numpy as np

        self.state = [put(np.zeros(s, np.float32)) for s in exported.shapes(job)]
        token = itertools.cycle([put(t) for t in exported.tokens(job)])

        def run():
            self.last, *self.state = call(next(token), *self.state)
        self.run = run

    def output(self):
        return self.last.numpy()


open = Peer
