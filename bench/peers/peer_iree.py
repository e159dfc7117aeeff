"""IREE on the same ONNX file, compiled ahead of time for this processor; with one thread its synchronous device. Forward only."""
import itertools
import os
import subprocess
import sys

import numpy as np
import iree.runtime as rt

import exported


def prepare(job):
    import iree.compiler as compiler

    path = job.folder + "/iree.mlir"
    if os.path.exists(job.folder + "/iree.vmfb"):
        return
    if not os.path.exists(path):
        subprocess.run([sys.executable, "-m", "iree.compiler.tools.import_onnx", exported.onnx(job), "-o", path], check=True)
    compiler.compile_file(path, output_file=job.folder + "/iree.vmfb", target_backends=["llvm-cpu"],
                          extra_args=["--iree-llvmcpu-target-cpu=host", "--iree-opt-level=O3"])


class Peer:
    def __init__(self, job):
        import importlib.metadata

        self.versions, self.files = {"iree-base-runtime": importlib.metadata.version("iree-base-runtime")}, [job.folder + "/iree.vmfb"]
        form = exported.form(job)
        self.note = "experts " + form if form else ""
        if job.threads > 1:
            rt.flags.parse_flags("--task_topology_group_count=%d" % job.threads)
        config = rt.Config("local-sync" if job.threads == 1 else "local-task")
        module = rt.load_vm_module(rt.VmModule.mmap(config.vm_instance, self.files[0]), config)
        call = module[next(n for n in module.vm_module.function_names if not n.startswith("__") and not n.endswith("$async"))]
        put = lambda a: rt.asdevicearray(config.device, a)
        if job.mode != "step":
            image = put(job.inputs["image"])
            self.run = lambda: setattr(self, "last", np.asarray(call(image)))
            return
        self.state = [put(np.zeros(s, np.float32)) for s in exported.shapes(job)]
        token = itertools.cycle([put(t) for t in exported.tokens(job)])

        def run():
            y, *self.state = call(next(token), *self.state)
            self.last = y.to_host()
        self.run = run

    def output(self):
        return self.last


open = Peer
