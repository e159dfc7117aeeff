"""TVM's Relax, compiled ahead of time for this processor from the exported program, with its default pipeline; run by its runtime alone,
without its compiler. Forward only."""
import ctypes
import itertools
import os
import subprocess
import sys

import exported


def target():
    import tvm

    host = subprocess.run(["gcc", "-march=native", "-Q", "--help=target"], capture_output=True, text=True).stdout
    return tvm.target.Target({"kind": "llvm", "mcpu": next(line.split()[1] for line in host.splitlines() if line.strip().startswith("-march="))})


def prepare(job):
    if os.path.exists(job.folder + "/tvm.so"):
        return
    import torch
    import tvm
    from tvm.relax.frontend.torch import from_exported_program

    model, inputs = exported.module(job)
    with torch.no_grad():
        mod = from_exported_program(torch.export.export(model, inputs), keep_params_as_input=False, unwrap_unit_return_tuple=True)
    tvm.compile(mod, target=target()).export_library(job.folder + "/tvm.so")


def load():
    os.environ.update(TVM_USE_RUNTIME_LIB="1", TVM_FFI_DISABLE_TORCH_C_DLPACK="1")  # read when it is imported
    sys.modules["torch"] = None  # as where there is none: it would be imported, too
    import tvm.runtime.vm

    ctypes.CDLL(os.path.join(os.path.dirname(tvm.__file__), "lib", "libtvm_runtime_extra.so"), ctypes.RTLD_GLOBAL)  # has its top-k


class Peer:
    needs = ("tvm", "tvm_ffi")

    def __init__(self, job):
        import importlib.metadata

        import tvm
        from tvm.runtime.vm import VirtualMachine

        self.versions, self.files = {"apache-tvm": importlib.metadata.version("apache-tvm")}, [job.folder + "/tvm.so"]
        form = exported.form(job)
        self.note = "not tuned" + (", experts " + form if form else "")
        vm = VirtualMachine(tvm.runtime.load_module(self.files[0]), tvm.cpu())
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
