#!/usr/bin/env python3
"""Writes reference.json: every function of models/std/ that takes float tensors, on infinities,
NaN, the largest float32 and ordinary numbers, with values and gradients in float64.

Needs PyTorch (2.15 made the file that is here); the test, check.py, does not. Run it after adding
a function, and add its cases below:   reference.py > reference.json

A case: the call as model text, float tensors (parameters, differentiated), integer and bool
tensors, results, the cotangents of the results, and gradients. `loose` names inputs whose gradient
counts only where the input is no NaN: at NaN PyTorch's own functions give 0, 1 or NaN as it
happens, ours what the tie rule of ir/ops.def says."""
import json
import math

import torch
import torch.nn.functional as F

torch.set_default_dtype(torch.float64)
INF, NAN, TOP = math.inf, math.nan, 3.4028234663852886e38
VALUES = [INF, -INF, NAN, TOP, -TOP, 0.0, 1.0, -1.0, 3.0, -3.0, 6.0, 0.5, -0.5, 25.0, -25.0, 1e20]
ROWS = [[-INF, -INF], [INF, 0.0], [INF, INF], [-INF, 0.5], [INF, -INF], [NAN, 0.0], [TOP, -TOP], [TOP, 0.0], [0.0, 0.0],
        [1.0, 2.5], [1000.0, 1000.0]]
cases = []


def tensor(x):
    return torch.tensor(x)


def case(name, call, fn, floats, others=None, grads=True, loose=(), entry="loss", number=1):
    """fn(**floats, **others) -> result or tuple of results."""
    floats = {k: tensor(v).float().double().requires_grad_(grads) for k, v in floats.items()}  # what files hold
    others = {k: (t, torch.tensor(v)) for k, (t, v) in (others or {}).items()}
    result = fn(**floats, **{k: v for k, (_, v) in others.items()})
    results = result if isinstance(result, tuple) else (result,)
    weight = [(torch.arange(1, r.numel() + 1).reshape(r.shape) / (r.numel() + 1)).float().double() for r in results]
    out = {"function": name, "call": call, "entry": entry, "loose": list(loose),
           "floats": {k: [list(v.shape), v.detach().flatten().tolist()] for k, v in floats.items()},
           "others": {k: [t, list(v.shape), v.flatten().tolist()] for k, (t, v) in others.items()},
           "results": [[list(r.shape), r.detach().flatten().tolist()] for r in results],
           "cotangents": [[list(w.shape), w.flatten().tolist()] for w in weight], "gradients": {}}
    if grads:
        total = sum((torch.where(w == 0, torch.zeros_like(r), r * w)).sum() for r, w in zip(results, weight))
        g = torch.autograd.grad(total, list(floats.values()), allow_unused=True)
        for (k, v), d in zip(floats.items(), g):
            out["gradients"][k] = (torch.zeros_like(v) if d is None else d).flatten().tolist()
    cases.append(out)


def unary(name, call, fn, values=VALUES):
    case(name, call, lambda x: fn(x), {"x": values}, loose=["x"])


def activations():
    unary("relu", "relu(x)", F.relu)
    unary("relu6", "relu6(x)", F.relu6)
    unary("silu", "silu(x)", F.silu)
    unary("gelu", "gelu(x)", F.gelu)
    unary("gelu_tanh", "gelu_tanh(x)", lambda x: F.gelu(x, approximate="tanh"), VALUES[2:])
    unary("leaky_relu", "leaky_relu(x, slope = 0.1)", lambda x: F.leaky_relu(x, 0.1))
    unary("leaky_relu", "leaky_relu(x, slope = 0.0)", F.relu)
    unary("elu", "elu(x)", F.elu)
    unary("elu", "elu(x, alpha = 0.5)", lambda x: F.elu(x, 0.5))
    unary("selu", "selu(x)", F.selu)
    unary("celu", "celu(x, alpha = 0.5)", lambda x: F.celu(x, 0.5))
    unary("square", "square(x)", torch.square)
    unary("clamp", "clamp(x, -1.0, 3.0)", lambda x: x.clamp(-1.0, 3.0))  # 2.15: derivative 0 at the bounds; 1.13: 1
    unary("hardtanh", "hardtanh(x)", F.hardtanh)
    unary("hardsigmoid", "hardsigmoid(x)", lambda x: F.relu6(x + 3.0) / 6.0)  # F.hardsigmoid has a float32 sixth in its derivative
    unary("hardswish", "hardswish(x)", F.hardswish)
    unary("softshrink", "softshrink(x)", F.softshrink)
    unary("hardshrink", "hardshrink(x)", F.hardshrink)
    unary("weighted", "weighted(x, 0.0)", lambda x: torch.zeros_like(x) + 0 * x.nan_to_num())
    unary("weighted", "weighted(x, 0.5)", lambda x: 0.5 * x)
    unary("inverse_softplus", "inverse_softplus(x)", lambda x: x + torch.log(-torch.expm1(-x)), [INF, TOP, NAN, 0.0, 1.0, 1e-3, 30.0])


def rows():
    finite = [r for r in ROWS if max(map(abs, r)) < 1e9 or TOP not in r]
    case("var", "var(x)", lambda x: (x - x.mean(-1, keepdim=True)).square().mean(-1), {"x": finite + [[TOP, 0.0]]})
    case("var", "var(x)", lambda x: (x - x.mean(-1, keepdim=True)).square().mean(-1), {"x": [[3.0], [INF]]})
    case("softmax", "softmax(x)", lambda x: F.softmax(x, -1), {"x": ROWS})
    case("log_softmax", "log_softmax(x)", lambda x: F.log_softmax(x, -1), {"x": ROWS})
    case("logsumexp", "logsumexp(x)", lambda x: torch.logsumexp(x, -1), {"x": ROWS})
    case("logsumexp", "logsumexp(x, axis = 0, keep = true)", lambda x: torch.logsumexp(x, 0, keepdim=True), {"x": [[-INF, 1.0], [-INF, INF]]})
    least = 1.1754943508222875e-38  # of the normal numbers of float32
    unary("settle", "settle(x)", lambda x: torch.where(x.abs() < least, torch.zeros_like(x), x),
          [INF, -INF, NAN, TOP, 0.0, 1.0, -1.0, least, -least, 1e-38, -1e-38, 1e-45])
    case("cumsum", "cumsum(x)", lambda x: x.cumsum(-1), {"x": ROWS})
    case("outer", "outer(x, y)", lambda x, y: torch.outer(x, y), {"x": [INF, 2.0], "y": [0.0, 3.0]})
    case("mse_loss", "mse_loss(x, y)", lambda x, y: F.mse_loss(x, y), {"x": [INF, 1.0], "y": [0.0, 2.0]})
    case("mse_loss", "mse_loss(x, y)", lambda x, y: F.mse_loss(x, y), {"x": [1.0, 3.0], "y": [0.0, NAN]})
    case("mse_loss", "mse_loss(x, y)", lambda x, y: F.mse_loss(x, y), {"x": [1e18, 3.0], "y": [0.0, 2.0]})
    images = [[[[INF, 1.0, -INF, -INF], [0.0, 2.0, -INF, -INF], [NAN, 0.0, TOP, -TOP], [1.0, 1.0, 1.0, 1.0]]]]
    case("max_pool", "max_pool(x, 2)", lambda x: F.max_pool2d(x, 2), {"x": images})
    case("max_pool", "max_pool(x, 3, stride = 2, padding = 1)", lambda x: F.max_pool2d(x, 3, 2, 1), {"x": images}, loose=["x"])
    plane = [[[[0.5, 1.0, -2.0, 3.0], [0.0, 2.0, -1.0, 4.0], [1.5, 0.25, 8.0, -3.0]]]]
    case("avg_pool", "avg_pool(x, 2)", lambda x: F.avg_pool2d(x, 2), {"x": plane})
    case("avg_pool", "avg_pool(x, 3, stride = 2, padding = 1)", lambda x: F.avg_pool2d(x, 3, 2, 1), {"x": plane})
    for size in ((5, 7), (2, 3), (3, 4)):
        say = f"(x, {size[0]}, {size[1]})"
        case("resize_linear", "resize_linear" + say, lambda x: F.interpolate(x, size, mode="bilinear"), {"x": plane})
        case("resize_nearest", "resize_nearest" + say, lambda x: F.interpolate(x, size, mode="nearest"), {"x": plane})
    mixed = [[INF, 1.0, -INF, 1.0], [NAN, 2.0, TOP, -TOP], [3.0, NAN, 0.0, INF]]
    case("sort", "sort(x)", lambda x: x.sort(dim=-1, stable=True)[0], {"x": mixed}, loose=["x"])
    case("argsort", "float(argsort(x))", lambda x: x.sort(dim=-1, stable=True)[1].double(), {"x": mixed}, grads=False)


def segments():
    index = {"index": ("i64", [2, 0, 2, 2])}
    x = [[1.0, -2.0], [INF, 0.5], [3.0, TOP], [3.0, -INF]]
    def each(f, n=3):
        return lambda x, index: torch.stack([f(x[index == i]) if (index == i).any() else torch.full_like(x[0], -TOP) for i in range(n)])
    case("segment_max", "segment_max(x, index, 3)", each(lambda r: r.max(0)[0]), {"x": [[1.0, -2.0], [INF, 0.5], [3.0, TOP], [2.0, -INF]]}, index)
    case("segment_sum", "segment_sum(x, index, 3)", lambda x, index: torch.zeros(3, 2).index_add(0, index, x), {"x": x}, index)
    def softmax(x, index):
        out = torch.zeros_like(x)
        for i in range(3):
            out[index == i] = torch.softmax(x[index == i], 0)
        return out
    case("segment_softmax", "segment_softmax(x, index, 3)", softmax, {"x": [[1.0, -2.0], [0.25, 0.5], [3.0, TOP], [3.0, -TOP]]}, index)
    def conv(x, k):
        L, M = x.shape[1], k.shape[0]
        return torch.stack([sum(k[s] * x[:, t - s] for s in range(min(M, t + 1))) for t in range(L)], 1)
    seq = [[[1.0, 2.0], [-1.0, 0.5], [0.25, 3.0], [2.0, -2.0]]]
    def back(x, k, y, g):
        xx, kk = x.clone().detach().requires_grad_(), k.clone().detach().requires_grad_()
        return torch.autograd.grad((conv(xx, kk) * g).sum(), (xx, kk))
    case("long_conv", "long_conv(x, k)", conv, {"x": seq, "k": [[0.5, 1.0], [2.0, -1.0], [0.125, 0.25], [3.0, 1.0]]})
    case("long_conv", "long_conv(x, k)", conv, {"x": seq, "k": [[0.5, 1.0], [2.0, -1.0]]})
    case("lag_by_lag", "lag_by_lag(x, k)", conv, {"x": seq, "k": [[0.5, 1.0], [2.0, -1.0]]})
    case("long_conv_vjp", "long_conv_vjp(x, k, y, g)", back, {"x": seq, "k": [[0.5, 1.0], [2.0, -1.0]], "y": seq, "g": seq}, grads=False)
    def low(x):
        f = torch.fft.rfft(x, dim=1)[:, :2]
        return f.real.contiguous(), f.imag.contiguous()
    case("rfft", "rfft(x, 2)", low, {"x": seq})
    case("irfft", "irfft(re, im, 4)", lambda re, im: torch.fft.irfft(torch.complex(re, im), n=4, dim=1),
         {"re": [[[1.0, -2.0], [0.5, 4.0], [2.0, 0.25]]], "im": [[[3.0, 1.0], [-1.5, 2.0], [5.0, -1.0]]]})


def losses():
    def loss(smoothing, ignore=None):
        def f(x, target):
            if ignore is None:
                return F.cross_entropy(x, target, label_smoothing=smoothing)
            kept = target != ignore
            if not kept.any():  # PyTorch divides 0 by 0; no target gives no loss
                return 0.0 * x.nan_to_num().sum()
            return F.cross_entropy(x[kept], target[kept], label_smoothing=smoothing)
        return f

    good = [[-INF, 0.0, 1.0], [2.0, -INF, -INF], [0.5, TOP, 0.0]]
    target = {"target": ("i64", [1, 0, 1])}
    hit = {"target": ("i64", [0, 0, 1])}
    for smoothing in (0.0, 0.1):
        call = f"cross_entropy(x, target, label_smoothing = {smoothing})"
        case("cross_entropy", call, loss(smoothing), {"x": good}, target)
        case("cross_entropy", call, loss(smoothing), {"x": good}, hit)
        case("cross_entropy", call, loss(smoothing), {"x": [[0.0, 1.0, 2.0], [INF, 0.0, 1.0]]}, {"target": ("i64", [1, 0])})
        for ignore in (-1, -100, 2):
            case("cross_entropy", f"cross_entropy(x, target, label_smoothing = {smoothing}, ignore_index = {ignore})", loss(smoothing, ignore),
                 {"x": [[-INF, 0.0, 1.0], [NAN, INF, 0.0], [1.0, 2.0, 3.0], [-INF, -INF, -INF]]}, {"target": ("i64", [1, ignore, 0, ignore])})
    case("cross_entropy", "cross_entropy(x, target, ignore_index = -1)", loss(0.0, -1), {"x": [[NAN, 0.0]]}, {"target": ("i64", [-1])})


def randomness():
    case("dropout", "dropout(x, 0.0)", lambda x: x * 1.0, {"x": VALUES}, entry="augment")
    case("dropout", "dropout(x, 1.0)", lambda x: torch.zeros_like(x) + 0 * x.nan_to_num(), {"x": VALUES}, entry="augment")
    even = [[[[INF, 1.0, 1.0, INF], [NAN, -INF, -INF, NAN]]]]
    case("random_flip", "random_flip(x)", lambda x: x * 1.0, {"x": even}, grads=False, entry="augment")
    case("random_crop", "random_crop(x, 0)", lambda x: x * 1.0, {"x": even}, entry="augment")


def scans():
    def scan(x, dt, A, b, c, skip, h0, reset=None):
        h, ys = h0, []
        for t in range(x.shape[1]):
            decay = torch.exp(dt[:, t, :, None] * A)
            if reset is not None:
                decay = torch.where(reset[:, t, None, None], torch.zeros_like(decay), decay)
                h = torch.where(reset[:, t, None, None], torch.zeros_like(h), h)
            h = decay * h + dt[:, t, :, None] * x[:, t, :, None] * b[:, t, None, :]
            ys.append((h * c[:, t, None, :]).sum(-1) + x[:, t] * skip)
        return torch.stack(ys, 1), h

    def data(**changed):
        d = {"x": [[[1.0, -2.0], [0.5, 3.0], [-1.0, 0.25]]], "dt": [[[0.1, 0.2], [0.3, 0.1], [0.5, 0.4]]],
             "A": [[-1.0, -2.0], [-0.5, -3.0]], "b": [[[1.0, 0.5], [0.25, -1.0], [2.0, 1.0]]],
             "c": [[[0.5, 1.0], [1.0, -0.5], [0.25, 2.0]]], "skip": [1.0, 0.5], "h0": [[[0.5, -0.5], [1.0, 2.0]]]}
        d.update(changed)
        return d

    call = "selective_scan(x, dt, A, b, c, skip, h0)"
    case("selective_scan", call, scan, data())
    case("selective_scan", call, scan, data(A=[[-INF, -2.0], [-0.5, -TOP]]), grads=False)
    case("selective_scan", call, scan, data(x=[[[1.0, -2.0], [INF, 3.0], [-1.0, 0.25]]]), grads=False)
    call = "selective_scan_episodes(x, dt, A, b, c, skip, h0, reset)"
    for h0 in ([[[0.5, -0.5], [1.0, 2.0]]], [[[NAN, INF], [-INF, TOP]]]):
        case("selective_scan_episodes", call, scan, data(h0=h0), {"reset": ("bool", [[True, False, True]])}, loose=["h0"])
    late = {"reset": ("bool", [[False, False, True]])}  # in the middle: nothing of the episode before, nothing back into it
    for x in (INF, NAN):
        case("selective_scan_episodes", call, scan, data(x=[[[1.0, -2.0], [x, 3.0], [-1.0, 0.25]]]), late, grads=False)
    case("selective_scan_episodes", call, scan, data(c=[[[0.5, 1.0], [1.0, -0.5], [INF, 2.0]]]), late)


def weighted_sums():
    for weight, u, v in ((0.5, 2.0, -3.0), (0.0, INF, NAN), (0.5, INF, 1.0), (2.0, NAN, 1.0)):
        case("plus_weighted", f"plus_weighted(x, [u, v], {weight})",
             lambda x, u, v: x + (weight * u + weight * v if weight else 0.0 * torch.zeros(()) * u.nan_to_num() * v.nan_to_num()),
             {"x": 1.5, "u": u, "v": v})


def scored(case, f, draw):
    """attend_scored with bias, mask, kept weights and a soft cap; without them; and its derivative."""
    bias = draw(1, 2, 3, 4)
    mask = [[[True, True, False, True], [False] * 4, [True] * 4]]
    keep = [[[[[True, False, True, True]] * 3, [[True] * 4, [False, True, True, True], [True] * 4]]]]
    both = {"mask": ("bool", mask), "keep": ("bool", keep)}

    def parts(q, k, bias, mask, all_of_it):
        s = torch.einsum("bgrlk,bgmk->bgrlm", q, k)
        seen = mask[:, None, None]
        if all_of_it:
            s = torch.where(seen, 1.5 * torch.tanh(s / 1.5) + bias, torch.full_like(s, -TOP))
        return s, seen if all_of_it else torch.ones_like(seen)

    def forward(all_of_it):
        def fn(q, k, v, bias, mask, keep):
            s, seen = parts(q, k, bias, mask, all_of_it)
            m = s.amax(-1, keepdim=True).detach()
            e = torch.where(seen, torch.exp(s - m), torch.zeros_like(s))
            n = e.sum(-1).clamp(min=1.0)
            w = torch.where(keep, e * 2.0, torch.zeros_like(e)) if all_of_it else e
            return torch.einsum("bgrlm,bgmv->bgrlv", w, v) / n[..., None], m[..., 0] + n.log()
        return fn

    def back(q, k, v, bias, y, lse, dy, dlse, mask, keep):
        s, seen = parts(q, k, bias, mask, True)
        none = torch.zeros_like(s)
        p = torch.where(seen, torch.exp(s - lse[..., None]), none)
        c = torch.where(keep, torch.einsum("bgrlv,bgmv->bgrlm", dy, v) * 2.0, none) - ((dy * y).sum(-1) - dlse)[..., None]
        t = torch.tanh(torch.einsum("bgrlk,bgmk->bgrlm", q, k) / 1.5)
        db, ds, w = (p * c).sum(0), p * c * (1.0 - t * t), torch.where(keep, p * 2.0, none)
        return (torch.einsum("bgrlm,bgmk->bgrlk", ds, k), torch.einsum("bgrlm,bgrlk->bgmk", ds, q), torch.einsum("bgrlm,bgrlv->bgmv", w, dy), db,
                torch.zeros([]), torch.zeros([]))

    on = "fill([], 2.0), fill([], 1.5), true, true, true, true"
    h = {**f, "bias": bias}
    case("attend_scored", f"attend_scored(q, k, v, bias, mask, keep, {on})", forward(True), h, both)
    case("attend_scored", "attend_scored(q, k, v, bias, mask, keep, fill([], 2.0), fill([], 1.5), false, false, false, false)", forward(False), h, both)
    y, lse = forward(True)(*(tensor(h[n]).float().double() for n in h), torch.tensor(mask), torch.tensor(keep))
    lse = torch.where(lse < -1e30, torch.zeros_like(lse), lse)  # of the row that sees none: any number does
    case("attend_scored_grad", f"attend_scored_grad(q, k, v, bias, mask, keep, {on}, y, lse, dy, dlse)", back,
         {**h, "y": y.tolist(), "lse": lse.tolist(), "dy": draw(1, 1, 2, 3, 2), "dlse": draw(1, 1, 2, 3)}, both)
    case("attend_with", "attend_with(q, k, v, 0.5)", lambda q, k, v: torch.einsum("bgrlm,bgmv->bgrlv", torch.softmax(0.5 * torch.einsum("bgrlk,bgmk->bgrlm", q, k), -1), v), f)


def attention():
    g = torch.Generator().manual_seed(1)

    def draw(*shape):
        return torch.randn(*shape, generator=g).tolist()

    q, k, v = draw(1, 1, 2, 3, 2), draw(1, 1, 4, 2), draw(1, 1, 4, 2)
    first, end = {"first": ("i32", [[0, 1, 2]])}, {"end": ("i32", [[1, 3, 2]])}

    def seen_of(first, end, n):
        key = torch.arange(n)
        return ((first[:, None, None, :, None] <= key) & (key < end[:, None, None, :, None]))

    def attend(q, k, v, seen=None):
        s = torch.einsum("bgrlk,bgmk->bgrlm", q, k)
        if seen is None:
            return torch.einsum("bgrlm,bgmv->bgrlv", torch.softmax(s, -1), v), torch.logsumexp(s, -1)
        any_seen = seen.any(-1)
        s = torch.where(seen, s, torch.full_like(s, -INF))
        s = torch.where(any_seen[..., None], s, torch.zeros_like(s))
        p = torch.where(seen, torch.softmax(s, -1), torch.zeros_like(s))
        lse = torch.where(any_seen, torch.logsumexp(s, -1), torch.full_like(s[..., 0], -TOP))
        return torch.einsum("bgrlm,bgmv->bgrlv", p, v), lse

    def back(q, k, v, y, lse, dy, dlse, seen=None):
        s = torch.einsum("bgrlk,bgmk->bgrlm", q, k)
        if seen is not None:
            s = torch.where(seen, s, torch.full_like(s, -TOP))
        p = torch.exp(s - lse[..., None])
        c = torch.einsum("bgrlv,bgmv->bgrlm", dy, v) - ((dy * y).sum(-1) - dlse)[..., None]
        ds = p * c
        if seen is not None:
            p, ds = torch.where(seen, p, torch.zeros_like(p)), torch.where(seen, ds, torch.zeros_like(ds))
        return (torch.einsum("bgrlm,bgmk->bgrlk", ds, k), torch.einsum("bgrlm,bgrlk->bgmk", ds, q),
                torch.einsum("bgrlm,bgrlv->bgmv", p, dy))

    f = {"q": q, "k": k, "v": v}
    far = {"q": [[[[[1e19, 0.0], [1.0, 1.0], [0.0, 0.0]]]]], "k": [[[[-1e19, 0.0], [-1.1e19, 1.0], [1.0, 0.0], [0.0, 2.0]]]], "v": draw(1, 1, 4, 2)}
    case("attend_all", "attend_all(q, k, v)", attend, f)
    case("attend_all", "attend_all(q, k, v)", attend, {**f, "v": [[[[INF, 0.0], [1.0, -INF], [0.0, 1.0], [2.0, 0.5]]]]}, grads=False)
    case("attend_all", "attend_all(q, k, v)", attend, {**f, "k": [[[[NAN, 0.0], [1.0, 1.0], [0.0, 1.0], [2.0, 0.5]]]]}, grads=False)
    masked = {**first, **end}
    seen = lambda q, k, v, first, end: attend(q, k, v, seen_of(first, end, k.shape[2]))
    case("attend_seen", "attend_seen(q, k, v, first, end)", seen, f, masked)
    case("attend_seen", "attend_seen(q, k, v, first, end)", seen, {**f, "k": [[[[1.0, 2.0], [0.5, 1.0], [-1.0, 1.0], [NAN, INF]]]]}, masked, grads=False)
    case("attend_seen", "attend_seen(q, k, v, first, end)", seen, far, {"first": ("i32", [[0, 0, 0]]), "end": ("i32", [[2, 3, 4]])}, grads=False)
    case("attend", "attend(q, k, v, 0.5)", lambda q, k, v: attend(q * 0.5, k, v)[0], f)
    case("attend", "attend(q, k, v, 0.5, causal = true)", lambda q, k, v: attend(q * 0.5, k, v, torch.ones(3, 4).tril().bool()[None, None, None])[0], f)
    case("attend_range", "attend_range(q, k, v, 0.5, first, end)",
         lambda q, k, v, first, end: attend(q * 0.5, k, v, seen_of(first, end, 4))[0], f, masked)
    for name in ("attend_all_grad", "attend_seen_grad"):
        ranges = name == "attend_seen_grad"
        mask = seen_of(torch.tensor([[0, 1, 2]]), torch.tensor([[1, 3, 2]]), 4) if ranges else None
        y, lse = attend(*(tensor(x).float().double() for x in (q, k, v)), mask)
        g7 = {**f, "y": y.tolist(), "lse": lse.tolist(), "dy": draw(1, 1, 2, 3, 2), "dlse": draw(1, 1, 2, 3)}
        if ranges:
            case(name, "attend_seen_grad(q, k, v, first, end, y, lse, dy, dlse)",
                 lambda first, end, **a: back(**a, seen=seen_of(first, end, 4)), g7, masked)
        else:
            case(name, "attend_all_grad(q, k, v, y, lse, dy, dlse)", back, g7)
    scored(case, f, draw)
    case("attend_end", "attend_end(e, m, v)",
         lambda e, m, v: ((lambda n: (torch.einsum("bgrlm,bgmv->bgrlv", e, v) / n[..., None], m + n.log()))(e.sum(-1).clamp(min=1.0))),
         {"e": [[[[[1.0, 0.5], [0.0, 0.0]]]]], "m": [[[[3.0, -INF]]]], "v": [[[[1.0], [2.0]]]]}, grads=False)
    case("attend_cost", "attend_cost(v, y, dy, dlse)",
         lambda v, y, dy, dlse: torch.einsum("bgrlv,bgmv->bgrlm", dy, v) - ((dy * y).sum(-1) - dlse)[..., None],
         {"v": [[[[1.0], [INF]]]], "y": [[[[[1.0], [2.0]]]]], "dy": [[[[[0.5], [2.0]]]]], "dlse": [[[[0.25, 1.0]]]]})
    case("attend_back", "attend_back(p, ds, q, k, dy)",
         lambda p, ds, q, k, dy: (torch.einsum("bgrlm,bgmk->bgrlk", ds, k), torch.einsum("bgrlm,bgrlk->bgmk", ds, q), torch.einsum("bgrlm,bgrlv->bgmv", p, dy)),
         {"p": [[[[[0.5, 0.5]]]]], "ds": [[[[[0.0, 1.0]]]]], "q": [[[[[1.0, INF]]]]], "k": [[[[1.0, 2.0], [NAN, 0.5]]]], "dy": [[[[[1.0]]]]]})


def experts():
    # tokens 0, 1, 2 with two choices each; experts 0, 1, 2: row and slot as route gives them
    row = {"row": ("i32", [0, 2, 0, 1, 1, 2])}
    slot = {"slot": ("i32", [[0, 2], [3, 4], [1, 5]])}
    both = {**row, **slot}
    x = [[1.0, INF], [NAN, 2.0], [-TOP, 0.5]]
    y = [[1.0, 2.0], [INF, 0.0], [0.5, 1.0], [2.0, -1.0], [3.0, 1.0], [-INF, 4.0]]
    p = [[0.5, 0.5], [1.0, 0.0], [0.25, 0.75]]
    dispatch = lambda x, row, slot: x[row.long()]
    combine = lambda y, p, row, slot: (y[slot.long()] * p[..., None]).sum(1)

    def combine_back(y, p, g, x, row, slot):
        weight = torch.stack([p[t, j] for r, t in enumerate(row.tolist()) for j in range(2) if slot[t, j] == r])
        return g[row.long()] * weight[:, None], (y[slot.long()] * g[:, None, :]).sum(-1)

    case("dispatch", "dispatch(x, row, slot)", dispatch, {"x": x}, both)
    case("dispatch_vjp", "dispatch_vjp(x, row, slot, y, g)", lambda x, y, g, row, slot: g[slot.long()].sum(1), {"x": x, "y": y, "g": y}, both)
    case("combine", "combine(y, p, row, slot)", combine, {"y": y, "p": p}, both)
    case("combine_vjp", "combine_vjp(y, p, row, slot, x, g)", combine_back, {"y": y, "p": p, "g": x, "x": x}, both, grads=False)


def angles():
    def rotate(x, c, s):
        a, b = x[..., 0::2], x[..., 1::2]
        return torch.stack([a * c - b * s, a * s + b * c], -1).reshape(x.shape)

    case("rotate_pairs", "rotate_pairs(x, c, s)", rotate,
         {"x": [[[[1.0, INF, 2.0, 3.0], [TOP, 1.0, NAN, 0.0]]]], "c": [[1.0, 0.5], [0.25, 1.0]], "s": [[0.5, 0.25], [0.5, 0.5]]})


def initialisers():
    g = [[1.0, 2.0, 0.5], [0.5, -1.0, 3.0]]
    q, r = torch.linalg.qr(tensor(g).T)
    q = (q * torch.sign(torch.diagonal(r))).T
    case("orthonormal_rows", "orthonormal_rows(g)", lambda g: q.clone(), {"g": g}, grads=False)


def optimisers():
    w, g = [1.0, -2.0, INF, TOP, 0.5], [0.5, 1.0, 0.25, 0.0, INF]
    state = [0.25, -0.5, 1.0, 2.0, 0.125]
    for decay in (0.0, 0.1):
        for momentum, nesterov in ((0.0, 0.0), (0.9, 0.0), (0.9, 1.0)):
            def sgd(w, g, m, lr, step):
                d = g + decay * w if decay else g
                m = momentum * m + d if momentum else d
                return w - lr * (d + momentum * m if nesterov else m), m
            m = [INF if momentum == 0.0 else 0.25, -0.5, 1.0, 2.0, 0.125]
            case("sgd", f"sgd(w, g, m, lr, step, momentum = {momentum}, nesterov = {nesterov}, weight_decay = {decay})", sgd,
                 {"w": w, "g": g, "m": m, "lr": 0.1, "step": 1.0}, grads=False)
        for name in ("adam", "adamw"):
            def adam(w, g, m, v, lr, step):
                if decay and name == "adam":
                    g = g + decay * w
                m, v = 0.9 * m + (1 - 0.9) * g, 0.999 * v + (1 - 0.999) * g * g
                if decay and name == "adamw":
                    w = w * (1 - lr * decay)
                root = math.sqrt(1 - 0.999 ** float(step))
                return w - lr / (1 - 0.9 ** float(step)) * (m / (v.sqrt() / root + 1e-8)), m, v
            case(name, f"{name}(w, g, m, v, lr, step, weight_decay = {decay})", adam,
                 {"w": w, "g": g, "m": state, "v": [0.25, 0.5, 1.0, 2.0, 0.125], "lr": 0.1, "step": 3.0}, grads=False)
    case("bias_correction", "bias_correction(0.9, step)", lambda step: 1 - 0.9 ** step, {"step": [1.0, 100.0, INF][0]}, grads=False)
    case("bias_correction", "bias_correction(0.9, step)", lambda step: 1 - 0.9 ** step, {"step": INF}, grads=False)


activations(), rows(), segments(), losses(), randomness(), scans(), weighted_sums(), attention(), experts(), angles(), initialisers(), optimisers()
print("[")
print(",\n".join(json.dumps(c) for c in cases))
print("]")
