"""PyTorch, eager: of the forms of a mixture of experts the one that is fastest here, or DHC_PEERS_EXPERTS."""
import os
import time

import torch

import models


class Peer:
    note = ""

    def __init__(self, job):
        torch.set_num_threads(job.threads)
        self.job, self.versions = job, {"torch": torch.__version__}
        at = torch.device(job.device)
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True  # what dhcc's cases on a GPU compute in
        model = models.build(job.model, job.sets)
        self.model = models.load(model, {k: torch.from_numpy(v) for k, v in job.weights.items()}).to(at).train(job.train)
        self.x = torch.from_numpy(job.inputs.get("image", job.inputs.get("tokens"))).to(at)
        self.target = torch.from_numpy(job.inputs["target"]).to(at)
        self.choose()
        self.call = self.model.loss if job.train else self.model
        self.adam = models.optimizer(self.model) if job.train else None

    def forms(self):
        return models.FORMS

    def choose(self):
        if not models.has_experts(self.model):
            return
        told = os.environ.get("DHC_PEERS_EXPERTS") or ("dense" if self.job.device != "cpu" else None)  # no sizes that depend on data there
        if told:
            self.note = "experts " + told
            models.set_form(self.model, told)
            return
        took = {}
        with torch.inference_mode():
            for form in self.forms():
                if form == "gathered" and self.model.tokens == "grid" and (len(self.x) > 1 or self.x.dim() == 2):
                    continue  # copies of matrices for every token: gigabytes
                models.set_form(self.model, form)
                for _ in range(3):
                    t = time.perf_counter()
                    self.model(self.x)
                    took[form] = min(took.get(form, 1e9), time.perf_counter() - t)
        self.note = "experts " + min(took, key=took.get)
        models.set_form(self.model, min(took, key=took.get))

    def run(self):
        if not self.job.train:
            with torch.inference_mode():
                self.last = self.call(self.x)
        else:
            self.adam.zero_grad(set_to_none=True)
            self.last = self.call(self.x, self.target)
            self.last.backward()
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0, foreach=True)
            self.adam.step()
        if self.job.device != "cpu":
            torch.cuda.synchronize()

    def output(self):
        return self.last.detach().cpu().numpy()


open = Peer
