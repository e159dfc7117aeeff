"""PyTorch through torch.compile (Inductor). With DHC_PEERS_REGIONS=1 block by block, which is what is done where
compiling the whole takes too long."""
import os

import torch

import models
import peer_torch


class Peer(peer_torch.Peer):
    def forms(self):
        return [f for f in models.FORMS if f != "routed"]  # sizes that depend on data break the graph

    def __init__(self, job):
        super().__init__(job)
        mode = {"mode": "reduce-overhead"} if job.device != "cpu" else {}
        if os.environ.get("DHC_PEERS_REGIONS"):
            for block in self.model.jamba_model.layers:
                block.compile(dynamic=False, **mode)
        else:
            self.call = torch.compile(self.call, dynamic=False, **mode)

    def run(self):
        if self.job.device != "cpu":
            torch.compiler.cudagraph_mark_step_begin()
        if self.job.train:
            super().run()
            return
        with torch.no_grad():  # inference mode's tensors are compiled anew
            self.last = self.call(self.x)
        if self.job.device != "cpu":
            torch.cuda.synchronize()


open = Peer
