"""dhcc from Python: load a model, call it, train it.

    import dhcc
    model = dhcc.load("runs/a")                # a run's folder, a package (.dhcm), a file, or a shipped model
    logits = model.forward(image=x)            # NumPy, PyTorch, JAX: whatever speaks DLPack
    model.train_step(image=x, target=y, lr=1e-3)

Arrays are read where they lie. One whose strides are not those of a dense row-major array is copied first, once a call;
one of another floating-point or integer type than the entry's is converted; one that lies on another device is refused. Results are
NumPy arrays of their own, which the model's kernels write."""
import json
import os
import pathlib
import threading

import numpy

from . import _dhcc
from ._dhcc import version as __version__
from .errors import EnvironmentFailure, Error, InputError, Interrupted, NumericError, UsageError
from .results import Table, metrics, sweep_results

__all__ = ["load", "Model", "Entry", "Result", "Tensor", "Table", "metrics", "sweep_results", "Error", "InputError", "UsageError",
           "EnvironmentFailure", "NumericError", "Interrupted", "__version__"]

_RUN, _GRAD, _TRAIN = 0, 1, 2
_sessions = {}
_sessions_lock = threading.Lock()


def _session(backend, threads, cache_dir):
    """One for each choice of these, as long as the process: its compiled kernels serve every model."""
    key = (backend, threads, cache_dir)
    with _sessions_lock:
        if key not in _sessions:
            models = pathlib.Path(__file__).parent / "models"
            _sessions[key] = _dhcc.open_session(backend, threads, cache_dir, str(models) if models.is_dir() else "")
        return _sessions[key]


class Tensor:
    """An input or a result of an entry: `name`, `dtype` ("f32"), `shape` (numbers and symbols), `optional`."""

    __slots__ = ("name", "dtype", "shape", "optional")

    def __init__(self, name, dtype, shape, optional):
        self.name, self.dtype, self.shape, self.optional = name, dtype, shape, optional

    def __repr__(self):
        return f"{self.name}: {self.dtype}[{', '.join(map(str, self.shape))}]{' = ...' if self.optional else ''}"


class Result(dict):
    """What an entry gives where it is more than one tensor: by name, also as attributes, in order."""

    def __getattr__(self, name):
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


class Entry:
    """An entry of a model, called with its inputs in order or by name."""

    def __init__(self, model, name):
        self.model, self.name = model, name
        inputs, results = model._model.signature(name)
        self.inputs = tuple(Tensor(*t) for t in inputs)
        self.results = tuple(Tensor(*t) for t in results)
        self._names = tuple(t.name for t in self.inputs)
        self._needed = tuple(t.name for t in self.inputs if not t.optional)
        self.__doc__ = self._text()
        self.__name__ = name

    def _text(self):
        return f"{self.name}({', '.join(map(repr, self.inputs))}) -> ({', '.join(map(repr, self.results))})"

    def __repr__(self):
        return f"<{self.model.name}.{self._text()}>"

    def _named(self, args, kwargs):
        names = self._names
        if len(args) > len(names):
            raise UsageError(f"{self.name} takes {len(names)} inputs, got {len(args)}: {self._text()}")
        given = dict(zip(names, args))
        for name, value in kwargs.items():
            if name in given:
                raise UsageError(f"{self.name} got input '{name}' twice")
            if name not in names:
                raise UsageError(f"{self.name} has no input '{name}': {self._text()}")
            given[name] = value
        for name in self._needed:
            if name not in given:
                raise UsageError(f"{self.name} needs input '{name}': {self._text()}")
        return given

    def _run(self, mode, args, kwargs):
        given = self._named(args, kwargs)
        return self.model._run(self.name, mode, list(given), [_array(n, a) for n, a in given.items()])

    def __call__(self, *args, **kwargs):
        """A tensor; a Result where there are several. Entries with states go on by `NAME.stream` and `NAME.step`."""
        r = self._run(_RUN, args, kwargs)
        return r[0][1] if len(r) == 1 else Result(r)

    def grad(self, *args, **kwargs):
        """What the entry gives, then "grad.PATH" of every weight and "grad.INPUT" of every float input. An entry whose first result
        is no scalar "loss" takes "cotangent.RESULT" beside its inputs: 1 of the only float result if that is a scalar, else 0, where
        it is left out."""
        cotangents = {n: kwargs.pop(n) for n in list(kwargs) if n.startswith("cotangent.")}
        given = self._named(args, kwargs)
        given.update(cotangents)
        return Result(self.model._run(self.name, _GRAD, list(given), [_array(n, a) for n, a in given.items()]))

    @property
    def stream(self):
        """The form that goes on from call to call, in pieces of any length."""
        return self.model[self.name + ".stream"]

    @property
    def step(self):
        """The form that goes on by one position a call."""
        return self.model[self.name + ".step"]


def _array(name, x):
    """What DLPack or the buffer protocol shows; numbers and lists become arrays."""
    if isinstance(x, numpy.ndarray):
        if not x.dtype.isnative:
            raise UsageError(f"input '{name}' has the other byte order: x.astype(x.dtype.newbyteorder('='))")
        return x
    if hasattr(x, "__dlpack__"):
        if getattr(x, "requires_grad", False):
            x = x.detach()
        try:
            device = int(x.__dlpack_device__()[0])
        except Exception as e:
            raise UsageError(f"input '{name}' cannot be read: {e}") from e
        if device not in (1, 3, 11, 13):  # the host's, pinned and managed memory
            raise UsageError(f"input '{name}' is on another device: models take arrays in the host's memory (of torch: x.cpu())")
        return x
    return numpy.asarray(x)


class Model:
    """A model with its weights. Entries are attributes: `model.forward(image=x)`, `model["forward.step"](tokens=t)`."""

    def __init__(self, model, weights=None, seed=0, program=None, of=None):
        self._model, self._program, self._of = model, program, of
        self._index, self._entries = {}, {}
        self._names = tuple(model.entries)
        self._lock = threading.RLock()
        self._weights, self._seed = weights, seed
        self._step = 0
        if of is not None:
            self._index.update(of._index)
        elif weights is not None:
            self._opened()

    name = property(lambda self: self._model.name)
    hash = property(lambda self: self._model.hash)
    n_params = property(lambda self: self._model.n_params)
    entries = property(lambda self: self._names)

    def __getitem__(self, name):
        with self._lock:
            if name not in self._entries:
                self._entries[name] = Entry(self, name)
            return self._entries[name]

    def __getattr__(self, name):
        if name.startswith("_") or name not in self._names:
            raise AttributeError(f"model {self._model.name} has no entry '{name}': it has {', '.join(self._names)}" if name[0] != "_" else name)
        self.__dict__[name] = self[name]  # asked for once
        return self.__dict__[name]

    def __dir__(self):
        return [*super().__dir__(), *self._model.entries]

    def __call__(self, *args, **kwargs):
        return self.forward(*args, **kwargs)

    def __repr__(self):
        return f"<dhcc.Model {self.name}: {self.n_params:,} parameters; {', '.join(self.entries)}>"

    # ---- its program

    def _opened(self, entry=None, mode=_RUN):
        with self._lock:
            if self._program is None:
                entry = entry or self._model.entries[0]
                self._program = _dhcc.open_program(self._model, entry, mode)
                self._index[entry, mode] = 0
                self._program.init(self._seed)
                if self._weights is not None:
                    self._program.load(self._weights, False)
            return self._program

    def _entry_index(self, entry, mode):
        index = self._index.get((entry, mode))
        if index is not None:
            return self._program, index
        with self._lock:
            program = self._opened(entry, mode)
            if (entry, mode) not in self._index:
                self._index[entry, mode] = program.add(entry, mode)
            return program, self._index[entry, mode]

    def _run(self, entry, mode, names, arrays):
        program, index = self._entry_index(entry, mode)
        return program.run(index, names, arrays)

    # ---- training

    def train_step(self, *args, entry="loss", lr=None, seed=None, **kwargs):
        """One step of training as the model's recipe says: the entry's results, `grad_norm`, `finite` (False: nothing was changed).
        `lr` holds from here on; without it the recipe's first learning rate does."""
        e = self[entry]
        given = e._named(args, kwargs)
        program, _ = self._entry_index(entry, _TRAIN)
        with self._lock:
            if lr is not None:
                program.set_scalar("$lr", float(lr))
            if seed is not None:
                program.set_scalar("$seed", float(seed))
            program.set_scalar("$step", float(self._step))
            program.set_scalar("$opt_step", float(self._step + 1))
            r = Result(self._run(entry, _TRAIN, list(given), [_array(n, a) for n, a in given.items()]))
            r["finite"] = bool(r["finite"])
            self._step += r["finite"]
        return r

    def train(self, data, out=None, *, batch=0, epochs=0, steps=0, lr=0.0, limit=0, seed=0, resume=False, overwrite=False, progress=None):
        """A whole run, as `dhcc train` does it; `progress` is called with a dict after every step and may return False to stop.
        The run's weights are in `out`: dhcc.load(out)."""
        return self._model.train(str(data), _path(out), batch, epochs, steps, lr, limit, seed, resume, overwrite, progress)

    def evaluate(self, data, weights=None, *, split=None, batch=0, limit=0):
        """Loss and accuracy of weights in a file (None: those that the model was loaded with)."""
        return self._model.evaluate(str(data), _path(weights) or self._weights, split, batch, limit)

    def generate(self, prompt, n, *, temperature=1.0, top_k=0, seed=0, weights=None):
        """n tokens after a prompt of tokens; text goes in and comes out as its bytes."""
        text = isinstance(prompt, str)
        tokens = list(prompt.encode()) if text else [int(t) for t in prompt]
        made = self._model.generate(tokens, n, _path(weights) or self._weights, temperature, top_k, seed)
        return bytes(made).decode(errors="replace") if text else made

    # ---- weights and states

    def init(self, seed=0):
        """Initial weights of a seed."""
        self._opened().init(seed)
        self._step = 0

    def load_weights(self, path, partial=False):
        """A .safetensors file, an index of several, a package or a run's folder."""
        self._opened().load(_path(path), partial)

    def save(self, path, ema=False):
        self._opened().save(_path(path), ema)

    def pack(self, path, weights=None):
        """The model in one file: text, settings and weights."""
        self._model.pack(_path(weights) or self._weights, _path(path))

    @property
    def tensors(self):
        """Paths of weights and buffers."""
        return tuple(self._model.tensors)

    def get(self, path):
        """A weight, buffer or state as it lies in the model's memory: an array that cannot be written, and changes with the model."""
        return self._opened().get(path)

    def set(self, path, array):
        self._opened().set(path, _array(path, array))

    def state_dict(self):
        """Copies of all weights and buffers by their paths."""
        return {p: numpy.array(self.get(p)) for p in self.tensors}

    def load_state_dict(self, tensors):
        """Of a PyTorch module of the same names, for one."""
        missing = [p for p in self.tensors if p not in tensors]
        if missing:
            raise InputError(f"no tensor '{missing[0]}' among those given ({len(missing)} are missing)")
        for p in self.tensors:
            self.set(p, tensors[p])

    def reset(self):
        """States begin anew in the next call of a stream or step."""
        self._opened().reset()

    def share(self, threads=1):
        """The same weights with states of their own, for another thread: calls of models that share run side by side."""
        with self._lock:
            for e in self._model.entries:
                self._entry_index(e, _RUN)
            return Model(self._model, self._weights, self._seed, _dhcc.share(self._program, threads), self)

    # ---- about it

    def info(self, entry=None, sizes=None):
        """What `dhcc info --json` says, as a dict."""
        if isinstance(sizes, dict):
            sizes = ",".join(f"{k}={v}" for k, v in sizes.items())
        return json.loads(self._model.info(entry, sizes))

    def print(self, entry="forward", stage="graph"):
        """Text of a stage, as `dhcc print` gives it."""
        return self._model.print(entry, stage)


def _path(p):
    return None if p is None else os.fspath(p)


def load(name, *, preset=None, variant=None, recipe=None, root=None, set=None, weights=None, seed=0, backend=None, threads=0, cache_dir=None):
    """A model: a run's folder or a package (.dhcm), which bring their settings and weights, a file of the language, or the name of a
    shipped one. `set` is a dict of hyperparameters, `weights` what `load_weights` takes; without any the weights are initial ones of `seed`."""
    name = _path(name)
    sets = [f"{k}={str(v).lower() if isinstance(v, bool) else v}" for k, v in (set or {}).items()]
    session = _session(backend, threads, _path(cache_dir))
    model = _dhcc.open_model(session, name, root, preset, variant, recipe, sets)
    if weights is None and _dhcc.package_find(name) == (True, True):
        weights = name
    return Model(model, _path(weights), seed)
