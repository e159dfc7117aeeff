"""PyTorch on a GPU as an expert would run it: stacked experts, tf32, torch.compile, fused AdamW, and a whole forward pass or training
step as one CUDA graph. DHC_PEERS_MAMBA names a checkout of state-spaces/mamba, whose scan kernels are then built, or the library that such
a build has left (selective_scan_cuda.so); they stand in for torch's associative_scan where a sequence is longer than 1."""
import glob
import importlib.util
import os

import torch
import torch.nn.functional as F

import models
import peer_torch


def kernels(checkout):
    if checkout.endswith(".so"):
        spec = importlib.util.spec_from_file_location("selective_scan_cuda", checkout)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module
    from torch.utils.cpp_extension import load

    root = os.path.join(os.path.abspath(checkout), "csrc", "selective_scan")
    half = ["-U__CUDA_NO_%s_%s__" % (t, w) for t in ("HALF", "BFLOAT16", "BFLOAT162") for w in ("OPERATORS", "CONVERSIONS")]
    return load("selective_scan_cuda", [root + "/selective_scan.cpp", *sorted(glob.glob(root + "/*.cu"))], extra_include_paths=[root], extra_cflags=["-O3"],
                extra_cuda_cflags=["-O3", "--use_fast_math", "--expt-relaxed-constexpr", "--expt-extended-lambda", *half])


def their_scan(checkout):
    """u, dt [B, d, L], a [d, n], b, c [B, n, L], skip [d] -> y [B, d, L]; softplus is the caller's."""
    theirs = kernels(checkout)

    class Scan(torch.autograd.Function):
        @staticmethod
        def forward(ctx, u, dt, a, b, c, skip):
            y, x, *_ = theirs.fwd(u, dt, a, b[:, None], c[:, None], skip, None, None, False)
            ctx.save_for_backward(u, dt, a, b, c, skip, x)
            return y

        @staticmethod
        def backward(ctx, g):
            u, dt, a, b, c, skip, x = ctx.saved_tensors
            du, ddt, da, db, dc, dskip, *_ = theirs.bwd(u, dt, a, b[:, None], c[:, None], skip, None, None, g.contiguous(), x, None, None, False, False)
            return du, ddt, da, db[:, 0], dc[:, 0], dskip

    return torch.compiler.disable(Scan.apply)


def torch_scan(u, dt, a, b, c, skip):
    from torch._higher_order_ops.associative_scan import associative_scan

    def join(left, right):
        return left[0] * right[0], right[0] * left[1] + right[1]

    decay = torch.exp(dt.unsqueeze(2) * a.unsqueeze(-1))
    h = associative_scan(join, (decay.contiguous(), ((dt * u).unsqueeze(2) * b.unsqueeze(1)).contiguous()), dim=3, combine_mode="pointwise")[1]
    return (h * c.unsqueeze(1)).sum(2) + skip[:, None] * u


class Mamba(models.Mamba):
    def forward(self, x):
        length = x.shape[1]
        if length == 1:
            return super().forward(x)
        u, z = self.in_proj(x).chunk(2, -1)
        u = F.silu(self.conv1d(u.transpose(1, 2))[..., :length])
        dt, b, c = self.x_proj(u.transpose(1, 2)).split([self.rank, self.n, self.n], -1)
        dt = F.softplus(self.dt_proj(dt)).transpose(1, 2)
        y = self.scan(u.contiguous(), dt.contiguous(), -torch.exp(self.A_log), b.transpose(1, 2).contiguous(), c.transpose(1, 2).contiguous(), self.D)
        return self.out_proj(y.transpose(1, 2) * F.silu(z))


class Peer(peer_torch.Peer):
    def __init__(self, job):
        super().__init__(job)
        if job.train:
            self.adam = models.optimizer(self.model, capturable=True)
        if job.sets.get("tokens") == "grid":
            self.take_scan(os.environ.get("DHC_PEERS_MAMBA"))
        self.call = torch.compile(self.call, dynamic=False)
        self.graph = None

    def take_scan(self, checkout):
        scan = their_scan(checkout) if checkout else torch_scan
        self.note += ", scan of " + ("state-spaces/mamba" if checkout else "torch")
        for m in self.model.modules():
            if isinstance(m, models.Mamba):
                m.__class__, m.scan = Mamba, scan

    def work(self):
        if not self.job.train:
            with torch.no_grad():
                return self.call(self.x)
        self.adam.zero_grad(set_to_none=True)
        loss = self.call(self.x, self.target)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0, foreach=True)
        self.adam.step()
        return loss

    def record(self):
        """Everything is compiled and every library has begun once before; training starts anew behind it."""
        kept = {k: v.clone() for k, v in self.model.state_dict().items()} if self.job.train else None
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                self.work()
        torch.cuda.current_stream().wait_stream(stream)
        if kept:
            self.adam.zero_grad(set_to_none=True)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.last = self.work()
        if kept:
            self.model.load_state_dict(kept)
            for state in self.adam.state.values():
                for value in state.values():
                    value.zero_()
        torch.cuda.synchronize()

    def run(self):
        if not self.graph:
            self.record()
        self.graph.replay()
        torch.cuda.synchronize()


open = Peer
