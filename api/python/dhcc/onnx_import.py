"""ONNX files as models of the language: a text and its weights. What has no counterpart is an error that names the file, the node and
why."""
import keyword
import re

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper, shape_inference

from .errors import InputError

_DTYPE = {TensorProto.FLOAT: "f32", TensorProto.FLOAT16: "f32", TensorProto.BFLOAT16: "f32", TensorProto.INT64: "i64", TensorProto.INT32: "i32",
          TensorProto.INT8: "i8", TensorProto.UINT32: "u32", TensorProto.UINT8: "u8", TensorProto.BOOL: "bool"}
_WORDS = {"model", "layer", "fn", "param", "buffer", "table", "state", "const", "require", "init", "for", "in", "if", "else", "return", "yield", "scan",
          "over", "along", "reverse", "unit", "checkpoint", "tap", "self", "import", "preset", "variants", "recipe", "entry", "metric", "training",
          "streaming", "true", "false", "not", "and", "or", "as", "kernel", "vjp", "no_decay"}
_UNARY = {"Neg": "-{}", "Abs": "abs({})", "Sign": "sign({})", "Exp": "exp({})", "Log": "log({})", "Tanh": "tanh({})", "Sigmoid": "sigmoid({})",
          "Softplus": "softplus({})", "Erf": "erf({})", "Sqrt": "sqrt({})", "Reciprocal": "1.0 / {}", "Sin": "sin({})", "Cos": "cos({})",
          "Asinh": "asinh({})", "Floor": "floor({})", "Round": "round({})", "Relu": "relu({})", "HardSwish": "hardswish({})", "Identity": "{}",
          "Not": "not {}", "Swish": "silu({})"}
_BINARY = {"Add": "{} + {}", "Sub": "{} - {}", "Mul": "{} * {}", "Pow": "{} ^ {}", "Equal": "{} == {}", "Less": "{} < {}", "LessOrEqual": "{} <= {}",
           "Greater": "{} > {}", "GreaterOrEqual": "{} >= {}", "And": "{} and {}", "Or": "{} or {}", "Xor": "{} != {}", "MatMul": "{} @ {}"}


class Importer:
    def __init__(self, path):
        self.path = str(path)
        try:
            made = onnx.load(path)
            onnx.checker.check_model(made)
            self.model = shape_inference.infer_shapes(made, data_prop=True)
        except Exception as e:
            raise InputError(f"{self.path}: error: {str(e).strip().splitlines()[0] if str(e).strip() else e}") from e
        self.opset = next((o.version for o in made.opset_import if o.domain in ("", "ai.onnx")), 0)
        self.names, self.used = {}, set()
        self.consts = {}   # by ONNX name: arrays
        self.sizes = {}    # by ONNX name: lists of texts, of whole numbers known from sizes
        self.members, self.weights = {}, {}
        self.lines, self.indent = [], "    "
        self.ranks, self.types = {}, {}
        self.number, self.node = 0, None

    # ---- names and values

    def refuse(self, why):
        n = self.node
        where = f"node {self.number}{f' ({n.name})' if n.name else ''}, {n.op_type}: " if n is not None else ""
        raise InputError(f"{self.path}: error: {where}{why}")

    def unique(self, text):
        word = re.sub(r"\W", "_", text) or "v"
        if word[0].isdigit() or word[0] == "_" or word in _WORDS or keyword.iskeyword(word):
            word = "v_" + word.lstrip("_")
        while word in self.used:
            word += "_"
        self.used.add(word)
        return word

    def let(self, output, text):
        """A statement that gives an ONNX output its value."""
        name = self.names[output] = self.unique(output)
        self.lines.append(f"{self.indent}{name} = {text}")
        return name

    def see(self, graph):
        for v in [*graph.value_info, *graph.input, *graph.output]:
            t = v.type.tensor_type
            if t.HasField("shape"):
                self.ranks[v.name] = len(t.shape.dim)
            self.types[v.name] = t.elem_type
        for t in graph.initializer:
            self.ranks[t.name], self.types[t.name] = len(t.dims), t.data_type

    def rank(self, name):
        if name in self.consts:
            return self.consts[name].ndim
        if name not in self.ranks:
            self.refuse(f"the rank of '{name}' is not known")
        return self.ranks[name]

    def is_float(self, name):
        if name in self.consts:
            return self.consts[name].dtype.kind == "f" or self.consts[name].dtype.name == "bfloat16"
        return self.types.get(name) in (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE)

    def member(self, name, kind):
        a = self.consts[name]
        if a.dtype in (np.float64, np.complex64, np.complex128, np.uint64):
            self.refuse(f"'{name}' is {a.dtype}, which models have not")
        if a.dtype.kind == "f" or a.dtype.name == "bfloat16":
            a = a.astype(np.float32)
        if a.dtype.kind in "iub" and a.dtype not in (np.int64, np.int32, np.int8, np.uint8, np.uint32, np.bool_):
            a = a.astype(np.int64)
        if name not in self.members:
            text = self.unique(name)
            types = {"float32": "", "int64": "i64", "int32": "i32", "int8": "i8", "uint8": "u8", "uint32": "u32", "bool": "bool"}
            kind = kind if a.dtype == np.float32 else "buffer"
            zero = "" if a.dtype in (np.float32, np.bool_) else "fill([%s], 0, %s)" % (", ".join(map(str, a.shape)), types[a.dtype.name])
            self.members[name] = (text, f"  {kind} {text}: {types[a.dtype.name]}[{', '.join(map(str, a.shape))}] = {zero or 'zeros()'}")
            self.weights[text] = a
        return self.members[name][0]

    def literal(self, a):
        v = a.reshape(-1)[0]
        if a.dtype == np.bool_:
            return None
        if a.dtype.kind == "f" or a.dtype.name == "bfloat16":
            v = np.float32(v)
            if not np.isfinite(v):
                return None
            text = repr(float(str(v)))
            return text if v >= 0 else f"({text})"
        return str(int(v)) if v >= 0 else f"({int(v)})"

    def use(self, name, kind="param"):
        """Text of a value."""
        if name in self.names:
            return self.names[name]
        if name in self.consts:
            a = self.consts[name]
            if a.size == 1 and a.ndim == 0 and self.literal(a) is not None:
                return self.literal(a)
            return self.member(name, kind)
        if name in self.sizes:
            if len(self.sizes[name]) == 1:
                return f"({self.sizes[name][0]})"
            self.refuse(f"'{name}' is a list of sizes, which is no tensor of a model")
        self.refuse(f"'{name}' comes from nowhere")

    def tensor(self, name):
        """The same, where a bare number does not do."""
        return self.member(name, "param") if name in self.consts else self.use(name)

    def whole(self, name, what):
        """Whole numbers known while compiling, as texts."""
        if name in self.consts and self.consts[name].dtype.kind in "iub":
            return [str(int(v)) for v in self.consts[name].reshape(-1)]
        if name in self.sizes:
            return list(self.sizes[name])
        self.refuse(f"{what} '{name}' is computed from values: models know it before they run")

    def fixed(self, name, what):
        if name in self.consts:
            return [int(v) for v in self.consts[name].reshape(-1)]
        self.refuse(f"{what} '{name}' is computed: here it has to be a constant")

    def attrs(self):
        return {a.name: helper.get_attribute_value(a) for a in self.node.attribute}

    def axis(self, value, name):
        return value + self.rank(name) if value < 0 else value

    # ---- nodes

    def nodes(self, graph):
        for self.number, self.node in enumerate(graph.node):
            node = self.node
            if node.domain not in ("", "ai.onnx"):
                self.refuse(f"the operator set '{node.domain}' is not known")
            if self.constant_node():
                continue
            method = getattr(self, "op_" + node.op_type, None)
            if node.op_type in _UNARY:
                x = self.use(node.input[0])
                if node.op_type == "Swish" and self.attrs().get("alpha", 1.0) != 1.0:
                    self.refuse("alpha other than 1")
                if node.op_type == "Identity" and node.input[0] not in self.names:
                    x = self.tensor(node.input[0])
                self.let(node.output[0], _UNARY[node.op_type].format(x))
            elif node.op_type in _BINARY:
                a, b = [self.use(i) for i in node.input]
                self.let(node.output[0], _BINARY[node.op_type].format(a, b))
            elif method is None:
                self.refuse("no counterpart in the language")
            else:
                method(node, self.attrs())
        self.node = None

    def constant_node(self):
        """What is known before the model runs: constants, sizes, and arithmetic on them."""
        n, at = self.node, self.attrs()
        out, ins = n.output[0], list(n.input)
        known = [i in self.sizes or (i in self.consts and self.consts[i].dtype.kind == "i" and self.consts[i].size <= 64) for i in ins if i]
        if n.op_type == "Constant":
            v = next(iter(at.values()))
            self.consts[out] = numpy_helper.to_array(v) if isinstance(v, TensorProto) else np.asarray(v, np.float32 if isinstance(v, float) or (isinstance(v, list) and v and isinstance(v[0], float)) else np.int64)
        elif n.op_type == "Shape":
            rank = self.rank(ins[0])
            start, end = at.get("start", 0), at.get("end", rank)
            start, end = [max(0, min(rank, i + rank if i < 0 else i)) for i in (start, end)]
            x = self.tensor(ins[0])
            self.sizes[out] = [f"dim({x}, {i})" for i in range(start, end)]
        elif n.op_type == "Size":
            self.sizes[out] = [f"numel({self.tensor(ins[0])})"]
        elif ins and all(known) and any(i in self.sizes for i in ins):
            return self.size_node(n, at, out, ins)
        elif n.op_type == "ConstantOfShape":
            v = numpy_helper.to_array(at["value"]) if "value" in at else np.zeros(1, np.float32)
            self.let(out, f"fill([{', '.join(self.whole(ins[0], 'the shape'))}], {self.literal(v) or str(bool(v[0])).lower()}, {_DTYPE[helper.np_dtype_to_tensor_dtype(v.dtype)]})")
        elif n.op_type in ("Cast", "Identity", "Squeeze", "Unsqueeze", "Reshape") and ins[0] in self.consts and all(i in self.consts for i in ins if i):
            a = self.consts[ins[0]]
            if n.op_type == "Cast":
                a = a.astype(helper.tensor_dtype_to_np_dtype(at["to"]))
            elif n.op_type == "Unsqueeze":
                axes = self.fixed(ins[1], "axes") if len(ins) > 1 else at["axes"]
                a = np.expand_dims(a, tuple(axes))
            elif n.op_type == "Squeeze":
                axes = self.fixed(ins[1], "axes") if len(ins) > 1 and ins[1] else at.get("axes")
                a = np.squeeze(a, tuple(axes) if axes else None)
            elif n.op_type == "Reshape":
                a = a.reshape([a.shape[i] if d == 0 else d for i, d in enumerate(self.fixed(ins[1], "shape"))])
            self.consts[out] = a
        else:
            return False
        return True

    def size_node(self, n, at, out, ins):
        values = [self.whole(i, "a size") for i in ins if i]
        if n.op_type in ("Cast", "Identity", "Squeeze", "Unsqueeze", "Reshape"):
            self.sizes[out] = values[0]
        elif n.op_type == "Concat":
            self.sizes[out] = [x for v in values for x in v]
        elif n.op_type == "Gather":
            self.sizes[out] = [values[0][i] for i in self.fixed(ins[1], "the index")]
        elif n.op_type == "Slice":
            cut = [self.fixed(i, "a bound")[0] for i in ins[1:3]] + [self.fixed(ins[4], "the step")[0] if len(ins) > 4 else 1]
            self.sizes[out] = values[0][cut[0]:cut[1]:cut[2]]
        elif n.op_type in ("Add", "Sub", "Mul", "Div"):
            a, b = values
            sign = {"Add": "+", "Sub": "-", "Mul": "*", "Div": "//"}[n.op_type]
            n_all = max(len(a), len(b))
            a, b = [v * n_all if len(v) == 1 else v for v in (a, b)]
            self.sizes[out] = [f"({x} {sign} {y})" for x, y in zip(a, b)]
        elif n.op_type == "ReduceProd":
            self.sizes[out] = ["(" + " * ".join(values[0]) + ")"]
        else:
            return False
        return True

    def op_Div(self, n, at):
        a, b = [self.use(i) for i in n.input]
        self.let(n.output[0], f"{a} {'/' if self.is_float(n.input[0]) or self.is_float(n.input[1]) else '//'} {b}")

    def op_Mod(self, n, at):
        if at.get("fmod"):
            self.refuse("fmod: the remainder with the sign of the dividend")
        self.let(n.output[0], "{} % {}".format(*[self.use(i) for i in n.input]))

    def fold(self, n, word):
        text = self.use(n.input[0])
        for i in n.input[1:]:
            text = f"{word}({text}, {self.use(i)})"
        self.let(n.output[0], text)

    def op_Max(self, n, at):
        self.fold(n, "max")

    def op_Min(self, n, at):
        self.fold(n, "min")

    def op_Sum(self, n, at):
        self.let(n.output[0], " + ".join(self.use(i) for i in n.input))

    def op_Where(self, n, at):
        c, a, b = [self.use(i) for i in n.input]
        self.let(n.output[0], f"select({c}, {a}, {b})")

    def op_Cast(self, n, at):
        if at["to"] not in _DTYPE:
            self.refuse(f"to {TensorProto.DataType.Name(at['to'])}, which models have not")
        self.let(n.output[0], f"cast({self.tensor(n.input[0])}, {_DTYPE[at['to']]})")

    def op_Dropout(self, n, at):
        if len(n.input) > 2 and n.input[2] and self.consts.get(n.input[2]) is not None and self.consts[n.input[2]].any():
            self.refuse("training mode")
        self.let(n.output[0], self.use(n.input[0]))

    # ---- activations and norms

    def op_LeakyRelu(self, n, at):
        self.let(n.output[0], f"leaky_relu({self.use(n.input[0])}, {float(str(np.float32(at.get('alpha', 0.01))))!r})")

    def op_Elu(self, n, at):
        self.let(n.output[0], f"elu({self.use(n.input[0])}, {float(str(np.float32(at.get('alpha', 1.0))))!r})")

    def op_Gelu(self, n, at):
        self.let(n.output[0], f"{'gelu_tanh' if at.get('approximate', b'none') == b'tanh' else 'gelu'}({self.use(n.input[0])})")

    def op_Clip(self, n, at):
        x = self.use(n.input[0])
        low, high = [self.use(n.input[i]) if len(n.input) > i and n.input[i] else None for i in (1, 2)]
        if low is not None:
            x = f"max({x}, {low})"
        self.let(n.output[0], f"min({x}, {high})" if high is not None else x)

    def soft(self, n, at, word):
        axis = self.axis(at.get("axis", -1 if self.opset >= 13 else 1), n.input[0])
        if self.opset < 13 and axis != self.rank(n.input[0]) - 1:
            self.refuse("over several axes, as before opset 13")
        self.let(n.output[0], f"{word}({self.use(n.input[0])}, axis = {axis})")

    def op_Softmax(self, n, at):
        self.soft(n, at, "softmax")

    def op_LogSoftmax(self, n, at):
        self.soft(n, at, "log_softmax")

    def op_BatchNormalization(self, n, at):
        if at.get("training_mode"):
            self.refuse("training mode")
        x, rank = self.use(n.input[0]), self.rank(n.input[0])
        scale, bias, mean, var = [self.member(i, "param" if k < 2 else "buffer") if i in self.consts else self.use(i) for k, i in enumerate(n.input[1:5])]
        eps = float(str(np.float32(at.get("epsilon", 1e-5))))
        factor = self.let(n.output[0] + "_scale", f"{scale} * rsqrt({var} + {eps!r})")
        shift = self.let(n.output[0] + "_shift", f"{bias} - {mean} * {factor}")
        form = "[" + ", ".join(["-1"] + ["1"] * (rank - 2)) + "]"
        wide = [v if rank <= 2 else f"reshape({v}, {form})" for v in (factor, shift)]
        self.let(n.output[0], f"{x} * {wide[0]} + {wide[1]}")

    def op_LayerNormalization(self, n, at):
        axis, rank = self.axis(at.get("axis", -1), n.input[0]), self.rank(n.input[0])
        axes = "[" + ", ".join(map(str, range(axis, rank))) + "]"
        x = self.use(n.input[0])
        c = self.let(n.output[0] + "_centred", f"{x} - mean({x}, axis = {axes}, keep = true)")
        y = f"{c} * rsqrt(mean({c} * {c}, axis = {axes}, keep = true) + {float(str(np.float32(at.get('epsilon', 1e-5))))!r})"
        y += f" * {self.use(n.input[1])}"
        self.let(n.output[0], y + (f" + {self.use(n.input[2])}" if len(n.input) > 2 and n.input[2] else ""))

    def op_RMSNormalization(self, n, at):
        axis, rank = self.axis(at.get("axis", -1), n.input[0]), self.rank(n.input[0])
        axes, x = "[" + ", ".join(map(str, range(axis, rank))) + "]", self.use(n.input[0])
        eps = float(str(np.float32(at.get("epsilon", 1e-5))))
        self.let(n.output[0], f"{x} * rsqrt(mean({x} * {x}, axis = {axes}, keep = true) + {eps!r}) * {self.use(n.input[1])}")

    # ---- contractions, convolutions, windows

    def op_Gemm(self, n, at):
        a, b = [self.tensor(i) for i in n.input[:2]]
        y = f"{a}{'.T' if at.get('transA') else ''} @ {b}{'.T' if at.get('transB') else ''}"
        if at.get("alpha", 1.0) != 1.0:
            y = f"{float(str(np.float32(at['alpha'])))!r} * ({y})"
        if len(n.input) > 2 and n.input[2]:
            beta = at.get("beta", 1.0)
            y += " + " + (f"{float(str(np.float32(beta)))!r} * " if beta != 1.0 else "") + self.use(n.input[2])
        self.let(n.output[0], y)

    def op_Einsum(self, n, at):
        text = at["equation"].decode().replace(" ", "")
        if len(n.input) != 2 or "..." in text or "->" not in text:
            self.refuse(f"the equation '{text}': two operands, every axis named, the result too")
        self.let(n.output[0], f'einsum("{text}", {self.tensor(n.input[0])}, {self.tensor(n.input[1])})')

    def least(self, x, axis, extent):
        """Said once, where the language wants to know it."""
        if extent > 1:
            self.lines.append(f"{self.indent}require dim({x}, {axis}) >= {extent}")

    def pads(self, n, at, count, kernel, strides, dilations):
        mode = at.get("auto_pad", b"NOTSET")
        if mode in (b"SAME_UPPER", b"SAME_LOWER"):
            self.refuse("auto_pad, which hangs on sizes: give pads")
        return at.get("pads", [0] * 2 * count) if mode == b"NOTSET" else [0] * 2 * count

    def op_Conv(self, n, at):
        x, w = self.tensor(n.input[0]), self.tensor(n.input[1])
        count = self.rank(n.input[0]) - 2
        strides, dilations = at.get("strides", [1] * count), at.get("dilations", [1] * count)
        pads = self.pads(n, at, count, None, strides, dilations)
        low, high = list(pads[:count]), list(pads[count:])
        if n.input[1] in self.consts:
            for i, k in enumerate(self.consts[n.input[1]].shape[2:]):
                self.least(x, 2 + i, (k - 1) * dilations[i] + 1 - low[i] - high[i])
        y = f"conv({x}, {w}, stride = {list(strides)}, dilation = {list(dilations)}, groups = {at.get('group', 1)}, pad_low = {low}, pad_high = {high})"
        if len(n.input) > 2 and n.input[2]:
            b = self.use(n.input[2])
            y += f" + reshape({b}, [-1{', 1' * count}])"
        self.let(n.output[0], y)

    def op_MaxPool(self, n, at):
        count = len(at["kernel_shape"])
        if any(self.pads(n, at, count, None, None, None)) or at.get("ceil_mode") or any(d != 1 for d in at.get("dilations", [1])):
            self.refuse("padding, ceil_mode and dilations: windows lie inside")
        if len(n.output) > 1 and n.output[1]:
            self.refuse("indices as a result")
        for i, k in enumerate(at["kernel_shape"]):
            self.least(self.tensor(n.input[0]), 2 + i, k)
        self.let(n.output[0] + "_where", f"window_max({self.use(n.input[0])}, {list(at['kernel_shape'])}, {list(at.get('strides', [1] * count))})")
        line = self.lines.pop()
        name = self.names.pop(n.output[0] + "_where")
        out = self.names[n.output[0]] = self.unique(n.output[0])
        self.lines.append(line.replace(f"{name} = ", f"{out}, {name} = ", 1))

    def op_AveragePool(self, n, at):
        k, count = list(at["kernel_shape"]), len(at["kernel_shape"])
        strides = list(at.get("strides", [1] * count))
        if any(self.pads(n, at, count, None, None, None)) or at.get("ceil_mode") or k != strides or any(d != 1 for d in at.get("dilations", [1])):
            self.refuse("padding, ceil_mode, dilations and windows that overlap")
        x = self.use(n.input[0])
        form = ", ".join(f"dim({x}, {i + 2}) // {k[i]}, {k[i]}" for i in range(count))
        self.let(n.output[0], f"mean(reshape({x}, [dim({x}, 0), dim({x}, 1), {form}]), axis = {[3 + 2 * i for i in range(count)]})")

    def op_GlobalAveragePool(self, n, at):
        axes = list(range(2, self.rank(n.input[0])))
        self.let(n.output[0], f"mean({self.use(n.input[0])}, axis = {axes}, keep = true)")

    # ---- reductions

    def reduce(self, n, at, word, wrap="{}"):
        axes = self.fixed(n.input[1], "axes") if len(n.input) > 1 and n.input[1] else at.get("axes")
        if not axes and at.get("noop_with_empty_axes"):
            return self.let(n.output[0], self.use(n.input[0]))
        rank = self.rank(n.input[0])
        axes = sorted(self.axis(a, n.input[0]) for a in axes) if axes else list(range(rank))
        x = wrap.format(self.use(n.input[0]))
        return self.let(n.output[0], f"{word}({x}, axis = {axes}, keep = {'true' if at.get('keepdims', 1) else 'false'})")

    def op_ReduceSum(self, n, at):
        self.reduce(n, at, "sum")

    def op_ReduceMean(self, n, at):
        self.reduce(n, at, "mean")

    def op_ReduceMax(self, n, at):
        self.reduce(n, at, "max")

    def op_ReduceMin(self, n, at):
        self.reduce(n, at, "min")

    def op_ReduceSumSquare(self, n, at):
        self.reduce(n, at, "sum", "square({})")

    def op_ArgMax(self, n, at):
        if at.get("select_last_index"):
            self.refuse("select_last_index: the first of equals is taken")
        axis = self.axis(at.get("axis", 0), n.input[0])
        y = f"cast(argmax({self.use(n.input[0])}, axis = {axis}), i64)"
        if at.get("keepdims", 1):
            rank = self.rank(n.input[0])
            x = self.use(n.input[0])
            y = f"reshape({y}, [{', '.join('1' if i == axis else f'dim({x}, {i})' for i in range(rank))}])"
        self.let(n.output[0], y)

    def op_TopK(self, n, at):
        k, axis = self.fixed(n.input[1], "k")[0], self.axis(at.get("axis", -1), n.input[0])
        if axis != self.rank(n.input[0]) - 1 or not self.is_float(n.input[0]):
            self.refuse("along another axis than the last, or of whole numbers")
        x, values, index = self.use(n.input[0]), self.unique(n.output[0]), self.unique(n.output[1])
        sign = "" if at.get("largest", 1) else "-"
        self.lines.append(f"{self.indent}{values}, {index} = top_k({sign}{x}, {k})")
        self.let(n.output[0], f"{sign}{values}")
        self.let(n.output[1], f"cast({index}, i64)")

    # ---- form

    def op_Reshape(self, n, at):
        x = self.tensor(n.input[0])
        dims = self.whole(n.input[1], "the shape")
        if not at.get("allowzero"):
            dims = [f"dim({x}, {i})" if d == "0" else d for i, d in enumerate(dims)]
        self.let(n.output[0], f"reshape({x}, [{', '.join(dims)}])")

    def op_Flatten(self, n, at):
        x, axis, rank = self.use(n.input[0]), at.get("axis", 1), self.rank(n.input[0])
        axis = axis + rank if axis < 0 else axis
        lead = " * ".join(f"dim({x}, {i})" for i in range(axis)) or "1"
        rest = " * ".join(f"dim({x}, {i})" for i in range(axis, rank)) or "1"
        self.let(n.output[0], f"reshape({x}, [{lead}, {rest}])")

    def op_Transpose(self, n, at):
        x = self.tensor(n.input[0])
        self.let(n.output[0], f"transpose({x}, {list(at.get('perm', range(self.rank(n.input[0]))[::-1]))})")

    def form(self, n, dims):
        self.let(n.output[0], f"reshape({self.tensor(n.input[0])}, [{', '.join(dims)}])")

    def op_Squeeze(self, n, at):
        axes = self.fixed(n.input[1], "axes") if len(n.input) > 1 and n.input[1] else at.get("axes")
        if not axes:
            self.refuse("without axes, which hangs on sizes")
        x, rank = self.tensor(n.input[0]), self.rank(n.input[0])
        axes = [self.axis(a, n.input[0]) for a in axes]
        self.form(n, [f"dim({x}, {i})" for i in range(rank) if i not in axes])

    def op_Unsqueeze(self, n, at):
        axes = self.fixed(n.input[1], "axes") if len(n.input) > 1 else at["axes"]
        x, rank = self.tensor(n.input[0]), self.rank(n.input[0])
        all_ = rank + len(axes)
        axes = [a + all_ if a < 0 else a for a in axes]
        left = iter(range(rank))
        self.form(n, ["1" if i in axes else f"dim({x}, {next(left)})" for i in range(all_)])

    def op_Expand(self, n, at):
        dims = self.whole(n.input[1], "the shape")
        x, rank = self.use(n.input[0]), self.rank(n.input[0])
        dims = [f"dim({x}, {i - len(dims) + rank})" if d == "1" and 0 <= i - len(dims) + rank else d for i, d in enumerate(dims)]
        if x[0].isdigit() or x[0] == "(":
            self.let(n.output[0], f"fill([{', '.join(dims)}], {x}, {_DTYPE[self.types.get(n.input[0], TensorProto.FLOAT)] if n.input[0] not in self.consts else _DTYPE[helper.np_dtype_to_tensor_dtype(self.consts[n.input[0]].dtype)]})")
        else:
            self.let(n.output[0], f"broadcast({x}, [{', '.join(dims)}])")

    def op_Range(self, n, at):
        start, end, step = [self.whole(i, "a bound")[0] for i in n.input]
        if step != "1":
            self.refuse("a step other than 1")
        y = f"iota({end if start == '0' else f'{end} - {start}'}, i64)"
        self.let(n.output[0], y if start == "0" else f"{y} + {start}")

    def op_Concat(self, n, at):
        self.let(n.output[0], f"concat([{', '.join(self.tensor(i) for i in n.input)}], axis = {self.axis(at['axis'], n.output[0])})")

    def op_Split(self, n, at):
        axis = self.axis(at.get("axis", 0), n.input[0])
        sizes = self.fixed(n.input[1], "sizes") if len(n.input) > 1 and n.input[1] else at.get("split")
        names = []
        for o in n.output:
            names.append(self.unique(o))
            self.names[o] = names[-1]
        self.lines.append(f"{self.indent}{', '.join(names)} = split({self.use(n.input[0])}, {list(sizes) if sizes else len(n.output)}, axis = {axis})")

    def op_Slice(self, n, at):
        x, rank = self.tensor(n.input[0]), self.rank(n.input[0])
        starts, ends = [self.whole(i, "a bound") for i in n.input[1:3]]
        axes = self.fixed(n.input[3], "axes") if len(n.input) > 3 and n.input[3] else list(range(len(starts)))
        steps = self.fixed(n.input[4], "steps") if len(n.input) > 4 and n.input[4] else [1] * len(starts)
        cut, turned = [":"] * rank, []
        for a, b, e, s in zip(axes, starts, ends, steps):
            a = self.axis(a, n.input[0])
            if s == -1 and b == "-1" and int(e) < -(1 << 30):
                turned.append(a)
                continue
            if s < 1:
                self.refuse("a step below 1, but -1 over a whole axis")
            if re.fullmatch(r"-?\d+", e) and int(e) > 1 << 30:
                e = ""
            elif not e.lstrip("-").isdigit():
                self.lines.append(f"{self.indent}require dim({x}, {a}) >= {e}")
            cut[a] = f"{'' if b == '0' else b}:{e}" + (f":{s}" if s != 1 else "")
        if any(c != ":" for c in cut):
            x = f"{x}[{', '.join(cut)}]"
        for a in turned:
            x = f"reverse({x}, {a})"
        self.let(n.output[0], x)

    def op_Gather(self, n, at):
        axis = self.axis(at.get("axis", 0), n.input[0])
        if n.input[1] in self.consts and self.consts[n.input[1]].ndim == 0:
            i = int(self.consts[n.input[1]])
            return self.let(n.output[0], f"{self.tensor(n.input[0])}[{', '.join([':'] * axis + [str(i)] + [':'] * (self.rank(n.input[0]) - axis - 1))}]")
        return self.let(n.output[0], f"gather({self.tensor(n.input[0])}, {self.tensor(n.input[1])}, axis = {axis})")

    def op_GatherElements(self, n, at):
        self.let(n.output[0], f"take_along({self.tensor(n.input[0])}, {self.tensor(n.input[1])}, axis = {self.axis(at.get('axis', 0), n.input[0])})")

    def op_Pad(self, n, at):
        if at.get("mode", b"constant") != b"constant" or (len(n.input) > 2 and n.input[2] and np.any(self.consts.get(n.input[2], np.ones(1)) != 0)):
            self.refuse("padding is with zeros")
        pads = self.whole(n.input[1], "pads") if len(n.input) > 1 else [str(p) for p in at["pads"]]
        rank, x = len(pads) // 2, self.use(n.input[0])
        axes = self.fixed(n.input[3], "axes") if len(n.input) > 3 and n.input[3] else range(rank)
        for i, a in enumerate(axes):
            if (pads[i], pads[i + rank]) != ("0", "0"):
                x = f"pad({x}, {self.axis(a, n.input[0])}, {pads[i]}, {pads[i + rank]})"
        self.let(n.output[0], x)

    # ---- recurrences

    def op_Scan(self, n, at):
        body, n_x = at["body"], at["num_scan_inputs"]
        n_c = len(n.input) - n_x
        n_y = len(n.output) - n_c
        axes = {self.axis(a, i) for a, i in zip(at.get("scan_input_axes", [0] * n_x), n.input[n_c:])} | set(at.get("scan_output_axes", [0] * n_y))
        ways = set(at.get("scan_input_directions", [0] * n_x)) | set(at.get("scan_output_directions", [0] * n_y))
        if len(axes) != 1 or len(ways) != 1 or min(axes) < 0:
            self.refuse("all sequences have to run along one axis in one direction")
        if not n_y:
            self.refuse("nothing is given at each step")
        self.recur(n, body, n_c, n_y, f"along {axes.pop()}{' reverse' if ways.pop() else ''}")

    def recur(self, n, body, n_c, n_y, along):
        starts = [self.tensor(i) for i in n.input[:n_c]]
        xs = [self.tensor(i) for i in n.input[n_c:]]
        outer = dict(self.names), dict(self.sizes), dict(self.consts), self.number, self.node
        self.see(body)
        for t in body.initializer:
            self.consts[t.name] = numpy_helper.to_array(t)
        inside = [self.unique(v.name) for v in body.input]
        self.names.update({v.name: x for v, x in zip(body.input, inside)})
        heads = [", ".join(f"{a} = {b}" for a, b in zip(p, q)) for p, q in ((inside[:n_c], starts), (inside[n_c:], xs))]
        at = len(self.lines)
        self.indent += "  "
        self.nodes(body)
        results = [self.tensor(o.name) for o in body.output]
        temps = [self.unique("next") for _ in range(n_c)]
        self.lines += [f"{self.indent}{t} = {r}" for t, r in zip(temps, results)]
        self.lines += [f"{self.indent}{c} = {t}" for c, t in zip(inside, temps)]
        self.lines.append(f"{self.indent}yield {', '.join(results[n_c:])}")
        self.indent = self.indent[:-2]
        self.names, self.sizes, self.consts, self.number, self.node = outer
        out = [self.unique(o or "unused") for o in n.output]
        self.names.update({o: t for o, t in zip(n.output, out) if o})
        self.lines.insert(at, f"{self.indent}{', '.join(out)} = scan ({heads[0]}) over ({heads[1]}) {along} {{")
        self.lines.append(self.indent + "}")

    def cell(self, n, at, gates, body):
        """LSTM and GRU of one direction, as they lie in files: X [L, B, I], W [1, G*H, I], R [1, G*H, H], B [1, 2*G*H]."""
        way = at.get("direction", b"forward")
        if way == b"bidirectional" or at.get("layout") or "activations" in at or "clip" in at or at.get("input_forget"):
            self.refuse("bidirectional, layout, activations, clip, input_forget")
        if any(i for i in [*n.input[4:5], *n.input[7:8]]):
            self.refuse("sequence_lens and peepholes")
        x, w, r = [self.tensor(i) for i in n.input[:3]]
        h = at["hidden_size"]
        p = self.unique(n.output[0] or n.output[1])
        put = lambda text: self.lines.append(self.indent + text)
        bias = self.tensor(n.input[3]) if len(n.input) > 3 and n.input[3] else None
        put(f"{p}_w = reshape({w}, [{gates * h}, dim({x}, 2)])")
        put(f"{p}_r = reshape({r}, [{gates * h}, {h}])")
        if bias:
            put(f"{p}_b = reshape({bias}, [2, {gates * h}])")
        start = lambda i: f"reshape({self.tensor(n.input[i])}, [dim({x}, 1), {h}])" if len(n.input) > i and n.input[i] else f"fill([dim({x}, 1), {h}], 0.0, f32)"
        along = "along 0 reverse" if way == b"reverse" else "along 0"
        lines, results = body(p, x, h, bias, start, along)
        for line in lines:
            put(line)
        forms = [f"reshape({p}_y, [dim({x}, 0), 1, dim({x}, 1), {h}])"] + [f"reshape({v}, [1, dim({x}, 1), {h}])" for v in results]
        for o, f in zip(n.output, forms):
            if o:
                self.let(o, f)

    def op_LSTM(self, n, at):
        def body(p, x, h, bias, start, along):
            b = f" + {p}_b[0, :] + {p}_b[1, :]" if bias else ""
            return [f"{p}_h, {p}_c, {p}_y = scan ({p}_h = {start(5)}, {p}_c = {start(6)}) over ({p}_x = {x} @ {p}_w.T{b}) {along} {{",
                    f"  {p}_i, {p}_o, {p}_f, {p}_z = split({p}_x + {p}_h @ {p}_r.T, 4, axis = -1)",
                    f"  {p}_c = sigmoid({p}_f) * {p}_c + sigmoid({p}_i) * tanh({p}_z)", f"  {p}_h = sigmoid({p}_o) * tanh({p}_c)", f"  yield {p}_h", "}"], [f"{p}_h", f"{p}_c"]
        self.cell(n, at, 4, body)

    def op_GRU(self, n, at):
        late = at.get("linear_before_reset", 0)

        def body(p, x, h, bias, start, along):
            b, rb = (f" + {p}_b[0, :]", f" + {p}_b[1, :]") if bias else ("", "")
            lines = [f"{p}_h, {p}_y = scan ({p}_h = {start(5)}) over ({p}_x = {x} @ {p}_w.T{b}) {along} {{"]
            if late:
                lines += [f"  {p}_k = {p}_h @ {p}_r.T{rb}", f"  {p}_z = sigmoid({p}_x[:, 0:{h}] + {p}_k[:, 0:{h}])",
                          f"  {p}_s = sigmoid({p}_x[:, {h}:{2 * h}] + {p}_k[:, {h}:{2 * h}])", f"  {p}_n = tanh({p}_x[:, {2 * h}:] + {p}_s * {p}_k[:, {2 * h}:])"]
            else:
                cut = lambda a, e: f"{p}_b[1, {a}:{e}]" if bias else "0.0"
                lines += [f"  {p}_z = sigmoid({p}_x[:, 0:{h}] + {p}_h @ {p}_r[0:{h}, :].T + {cut(0, h)})",
                          f"  {p}_s = sigmoid({p}_x[:, {h}:{2 * h}] + {p}_h @ {p}_r[{h}:{2 * h}, :].T + {cut(h, 2 * h)})",
                          f"  {p}_n = tanh({p}_x[:, {2 * h}:] + ({p}_s * {p}_h) @ {p}_r[{2 * h}:, :].T + {cut(2 * h, 3 * h)})"]
            return lines + [f"  {p}_h = (1.0 - {p}_z) * {p}_n + {p}_z * {p}_h", f"  yield {p}_h", "}"], [f"{p}_h"]
        self.cell(n, at, 3, body)

    # ---- the whole

    def text(self):
        g = self.model.graph
        self.see(g)
        for t in g.initializer:
            self.consts[t.name] = numpy_helper.to_array(t)
        inputs, symbols = [], {}
        for v in g.input:
            if v.name in self.consts:
                continue
            t = v.type.tensor_type
            if t.elem_type not in _DTYPE:
                raise InputError(f"{self.path}: error: input '{v.name}' is {TensorProto.DataType.Name(t.elem_type)}, which models have not")
            dims = []
            for i, d in enumerate(t.shape.dim):
                if d.HasField("dim_value"):
                    dims.append(str(d.dim_value))
                    continue
                word = d.dim_param if re.fullmatch(r"[A-Za-z]\w*", d.dim_param or "") else f"{v.name}_{i}"
                if word not in symbols:
                    symbols[word] = self.unique(word)
                dims.append(symbols[word])
            self.names[v.name] = self.unique(v.name)
            inputs.append(f"{self.names[v.name]}: {_DTYPE[t.elem_type]}[{', '.join(dims)}]")
        self.nodes(g)
        outs = [self.tensor(o.name) for o in g.output]
        names = []
        for o in g.output:
            word = re.sub(r"\W", "_", o.name)
            names.append(word if word not in _WORDS and not word[:1].isdigit() and word not in names else f"y_{len(names)}")
        binders = f"<{', '.join(symbols.values())}>" if symbols else ""
        name = "".join(w[:1].upper() + w[1:] for w in re.findall(r"[A-Za-z0-9]+", g.name)) or "Imported"
        name = name if name[0].isalpha() else "Model" + name
        body = [f"# From {self.path.rsplit('/', 1)[-1]}, opset {self.opset}.", "import std/nn", "", f"model {name}() {{",
                *(line for _, line in self.members.values()), *([""] if self.members else []),
                f"  forward{binders}({', '.join(inputs)}) -> ({', '.join(names)}) {{", *self.lines, f"    return {', '.join(outs)}", "  }", "}", ""]
        return "\n".join(body), self.weights


def import_file(path):
    """An ONNX file as the text of a model and its weights by name."""
    return Importer(path).text()


def save_weights(path, weights):
    """As .safetensors."""
    import json
    import struct

    words = {"float32": "F32", "int64": "I64", "int32": "I32", "int8": "I8", "uint8": "U8", "uint32": "U32", "bool": "BOOL"}
    head, at, data = {}, 0, []
    for k, a in weights.items():
        a = np.ascontiguousarray(a)
        head[k] = {"dtype": words[a.dtype.name], "shape": list(a.shape), "data_offsets": [at, at + a.nbytes]}
        at += a.nbytes
        data.append(a.tobytes())
    text = json.dumps(head).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + b"".join(data))
