"""ExecuTorch: a .pte lowered to XNNPACK, run by the runtime that its wheel brings. Its Python binding needs torch, which a program in
C++ does not: torch is in its start-up, and not in its bytes. Forward only."""
import itertools
import os

import torch

import exported

FORM = "gathered"


def prepare(job):
    if os.path.exists(job.folder + "/model.pte"):
        return
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    model, inputs = exported.module(job, FORM if exported.form(job) else None)
    with torch.no_grad():
        program = to_edge_transform_and_lower(torch.export.export(model, inputs), partitioner=[XnnpackPartitioner()]).to_executorch()
    program.save(job.folder + "/model.pte")


def load():
    from executorch.extension.pybindings import portable_lib  # noqa: F401


class Peer:
    needs = ("executorch",)

    def __init__(self, job):
        import importlib.metadata

        from executorch.extension.pybindings import portable_lib

        self.versions, self.files = {"executorch": importlib.metadata.version("executorch")}, [job.folder + "/model.pte"]
        self.note = "experts " + FORM if exported.form(job) else ""
        portable_lib._unsafe_reset_threadpool(job.threads)
        call = portable_lib._load_for_executorch(self.files[0]).forward
        if job.mode != "step":
            image = [torch.from_numpy(job.inputs["image"])]
            self.run = lambda: setattr(self, "last", call(image)[0])
            return
        self.state = [torch.zeros(s) for s in exported.shapes(job)]
        token = itertools.cycle([torch.from_numpy(t) for t in exported.tokens(job)])

        def run():
            self.last, *self.state = call([next(token), *self.state])
        self.run = run

    def output(self):
        return self.last.numpy()


open = Peer
