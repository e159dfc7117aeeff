"""ONNX files of models.

    python -m dhcc.onnx export MODEL -o m.onnx [--weights W] [--entry forward] [--preset P] [--set K=V]... [--opset N]
    python -m dhcc.onnx import m.onnx -o m.dhc --weights w.safetensors

Extents stay symbolic. Recurrences become Scan, routed experts slices of sorted rows, states of `NAME.step` and `NAME.stream` inputs
`state.PATH` and outputs `state.PATH.next`. What ONNX has no operator for is an error that names it."""
import argparse
import ast
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from . import Error, InputError, UsageError, gir, load
from .onnx_import import import_file, save_weights

OPSET = 23  # the newest for whose operators ONNX Runtime 1.32 has kernels of its own throughout
_NUMPY = {"f64": np.float64, "f32": np.float32, "i64": np.int64, "i32": np.int32, "i16": np.int16, "i8": np.int8, "u32": np.uint32,
          "u16": np.uint16, "u8": np.uint8, "bool": np.bool_}
_ONNX = {"f64": TensorProto.DOUBLE, "f32": TensorProto.FLOAT, "bf16": TensorProto.BFLOAT16, "i64": TensorProto.INT64, "i32": TensorProto.INT32,
         "i16": TensorProto.INT16, "i8": TensorProto.INT8, "u32": TensorProto.UINT32, "u16": TensorProto.UINT16, "u8": TensorProto.UINT8,
         "bool": TensorProto.BOOL}
_SAME = {"neg": "Neg", "abs": "Abs", "sign": "Sign", "exp": "Exp", "log": "Log", "tanh": "Tanh", "sigmoid": "Sigmoid", "softplus": "Softplus",
         "erf": "Erf", "sqrt": "Sqrt", "sin": "Sin", "cos": "Cos", "asinh": "Asinh", "floor": "Floor", "round": "Round",
         "stop_gradient": "Identity", "add": "Add", "sub": "Sub", "mul": "Mul", "div": "Div", "pow": "Pow", "max": "Max", "min": "Min",
         "eq": "Equal", "lt": "Less", "le": "LessOrEqual", "gt": "Greater", "ge": "GreaterOrEqual"}
_LOGIC = {"and": ("And", "BitwiseAnd"), "or": ("Or", "BitwiseOr"), "xor": ("Xor", "BitwiseXor"), "not": ("Not", "BitwiseNot")}


class Value:
    """A tensor of the ONNX graph; `narrow`: the name of one that broadcasts to it, where it was not made yet."""

    def __init__(self, type, name=None, narrow=None):
        self.type, self.name, self.narrow = type, name, narrow
        self.from_route = False


class Exporter:
    def __init__(self, model, entry, opset):
        self.model, self.entry, self.opset = model, entry, opset
        self.module = gir.parse(model.print(entry, "graph"))
        self.nodes, self.initializers, self.made = [], {}, {}
        self.count = 0

    # ---- parts of the graph

    def fresh(self, hint="t"):
        self.count += 1
        return f"{hint}_{self.count}"

    def emit(self, op, inputs, n=1, **attrs):
        names = [self.fresh(op.lower()) for _ in range(n)]
        self.nodes.append(helper.make_node(op, inputs, names, name=names[0], **attrs))
        return names[0] if n == 1 else names

    def const(self, array, name=None):
        array = np.asarray(array)
        key = name or (array.dtype.str, array.shape, array.tobytes())
        if key not in self.made:
            self.made[key] = name or self.fresh("c")
            self.initializers[self.made[key]] = array
        return self.made[key]

    def ints(self, values):
        return self.const(np.array(values, np.int64))

    # ---- extents: whole numbers, or names of int64 tensors [1]

    def extent(self, text, env):
        return self.extent_of(gir.dim(text) if isinstance(text, str) else ast.Constant(text), env)

    def extent_of(self, e, env):
        if isinstance(e, ast.Constant):
            return e.value
        if isinstance(e, ast.Name):
            if e.id not in env:
                raise InputError(f"symbol '{e.id}' is no extent of an input by itself: its value is not to be had in ONNX")
            return env[e.id]
        if isinstance(e, ast.UnaryOp):
            return self.arith("*", -1, self.extent_of(e.operand, env))
        op = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.FloorDiv: "/"}[type(e.op)]
        return self.arith(op, self.extent_of(e.left, env), self.extent_of(e.right, env))

    def arith(self, op, a, b):
        if isinstance(a, int) and isinstance(b, int):
            return {"+": a + b, "-": a - b, "*": a * b, "/": a // b if b else 0}[op]
        if op == "*" and 1 in (a, b):
            return b if a == 1 else a
        a, b = [self.ints([x]) if isinstance(x, int) else x for x in (a, b)]
        key = ("dim", op, a, b)
        if key not in self.scope:
            self.scope[key] = self.emit({"+": "Add", "-": "Sub", "*": "Mul", "/": "Div"}[op], [a, b])
        return self.scope[key]

    def vector(self, extents):
        """Extents as one int64 tensor."""
        if all(isinstance(x, int) for x in extents):
            return self.ints(extents)
        key = ("shape", *extents)
        if key not in self.scope:
            self.scope[key] = self.emit("Concat", [self.ints([x]) if isinstance(x, int) else x for x in extents], axis=0)
        return self.scope[key]

    def shape(self, dims, env):
        return self.vector([self.extent(d, env) for d in dims])

    def reshape(self, name, dims, env):
        extents = [self.extent(d, env) for d in dims]
        open_ = [i for i, x in enumerate(extents) if not isinstance(x, int)]
        if len(open_) == 1:  # what is left over, which runtimes see through
            extents[open_[0]] = -1
        return self.emit("Reshape", [name, self.vector(extents)])

    # ---- values

    def name(self, v, env):
        if v.name is None:
            v.name = self.emit("Expand", [v.narrow, self.shape(v.type.shape, env)])
        return v.name

    def operands(self, values, type, env):
        """Names for an elementwise operator: broadcasting is left to it where another operand has the result's shape."""
        full = [v for v in values if v.narrow is None and v.type.shape == type.shape]
        return [v.narrow if v.narrow is not None and full else self.name(v, env) for v in values]

    # ---- functions

    def run(self, func, values, env):
        """A function's nodes in place; its results."""
        at = dict(zip((p.id for p in func.params), values))
        updates = []
        for node in func.nodes:
            args = [at[a] for a in node.args]
            method = getattr(self, "op_" + node.op, None)
            if node.op in _SAME:
                out = [Value(node.types[0], self.emit(_SAME[node.op], self.operands(args, node.types[0], env)))]
            elif node.op in _LOGIC:
                op = _LOGIC[node.op][node.types[0].dtype != "bool"]
                out = [Value(node.types[0], self.emit(op, self.operands(args, node.types[0], env)))]
            elif node.op == "update":
                updates.append((node.args[0], args[1]))
                out = [args[1]]
            elif method is None:
                raise InputError(f"entry '{self.entry}' of {self.module.name}: '{node.op}' has no operator in ONNX ({func.name})")
            else:
                out = method(node, args, env)
            at.update(zip(node.results, out))
        return [at[r] for r in func.results], updates, at

    def call(self, func, node, args, env):
        inner = {s: self.extent(d, env) for s, d in zip(func.symbols, node.attrs["dims"])}
        return self.run(func, args, inner)

    def op_call(self, node, args, env):
        func = self.module.funcs[node.attrs["callee"][1:]]
        results, updates, _ = self.call(func, node, args, env)
        if updates:
            raise InputError(f"{func.name}: an update inside a unit")
        return results

    op_checkpoint = op_call

    def elementwise(self, node, args, env, f):
        return [Value(node.types[0], f(*self.operands(args, node.types[0], env)))]

    def number(self, v, type):
        return self.const(np.array(v, _NUMPY[type.dtype]))

    def op_expm1(self, node, args, env):  # 2 sinh(x/2) exp(x/2): as exact near 0 as ONNX has it
        half = self.number(0.5, node.types[0])

        def f(x):
            h = self.emit("Mul", [x, half])
            y = self.emit("Mul", [self.emit("Sinh", [h]), self.emit("Exp", [h])])
            return self.emit("Add", [y, y])
        return self.elementwise(node, args, env, f)

    def op_log1p(self, node, args, env):  # 2 atanh(x / (2 + x))
        two = self.number(2, node.types[0])

        def f(x):
            y = self.emit("Atanh", [self.emit("Div", [x, self.emit("Add", [x, two])])])
            return self.emit("Add", [y, y])
        return self.elementwise(node, args, env, f)

    def op_rsqrt(self, node, args, env):
        return self.elementwise(node, args, env, lambda x: self.emit("Reciprocal", [self.emit("Sqrt", [x])]))

    def op_is_finite(self, node, args, env):
        return self.elementwise(node, args, env, lambda x: self.emit("Not", [self.emit("Or", [self.emit("IsNaN", [x]), self.emit("IsInf", [x])])]))

    def op_ne(self, node, args, env):
        return self.elementwise(node, args, env, lambda a, b: self.emit("Not", [self.emit("Equal", [a, b])]))

    def op_rem(self, node, args, env):
        return self.elementwise(node, args, env, lambda a, b: self.emit("Mod", [a, b]))

    def op_floordiv(self, node, args, env):
        return self.elementwise(node, args, env, lambda a, b: self.emit("Div", [self.emit("Sub", [a, self.emit("Mod", [a, b])]), b]))

    def op_fma(self, node, args, env):
        return self.elementwise(node, args, env, lambda a, b, c: self.emit("Add", [self.emit("Mul", [a, b]), c]))

    def op_select(self, node, args, env):
        return self.elementwise(node, args, env, lambda c, a, b: self.emit("Where", [c, a, b]))

    def op_cast(self, node, args, env):
        v, to = args[0], node.types[0]
        x = v.narrow if v.narrow is not None else v.name
        y = self.emit("Cast", [x], to=_ONNX[to.dtype])
        return [Value(to, None, y) if v.narrow is not None else Value(to, y)]

    # ---- creation and views

    def op_fill(self, node, args, env):
        t = node.types[0]
        c = self.const(np.array(node.attrs["value"]).astype(_NUMPY[t.dtype]))
        return [Value(t, None, c) if t.shape else Value(t, c)]

    def op_iota(self, node, args, env):
        t, axis = node.types[0], node.attrs["axis"]
        n = self.extent(t.shape[axis], env)
        rest = [1] * (len(t.shape) - axis - 1)
        if isinstance(n, int):
            narrow = self.const(np.arange(n).astype(_NUMPY[t.dtype]).reshape([n] + rest))
        else:
            zero, one = self.const(np.int64(0)), self.const(np.int64(1))
            end = self.emit("Squeeze", [n])
            narrow = self.emit("Range", [zero, end, one])
            if t.dtype != "i64":
                narrow = self.emit("Cast", [narrow], to=_ONNX[t.dtype])
            if rest:
                narrow = self.emit("Reshape", [narrow, self.ints([-1] + rest)])
        return [Value(t, narrow) if len(t.shape) == 1 else Value(t, None, narrow)]

    def op_dim(self, node, args, env):
        n = self.extent(node.attrs["dim"], env)
        return [Value(node.types[0], self.const(np.int64(n)) if isinstance(n, int) else self.emit("Squeeze", [n]))]

    def op_reshape(self, node, args, env):
        return [Value(node.types[0], self.reshape(self.name(args[0], env), node.types[0].shape, env))]

    def op_transpose(self, node, args, env):
        return [Value(node.types[0], self.emit("Transpose", [self.name(args[0], env)], perm=node.attrs["perm"]))]

    def op_broadcast(self, node, args, env):
        v = args[0]
        if v.type.shape == node.types[0].shape:
            return [v]
        return [Value(node.types[0], None, v.narrow if v.narrow is not None else v.name)]

    def cut(self, x, starts, ends, axes, steps):
        return self.emit("Slice", [x, starts, ends, self.ints(axes), self.ints(steps)])

    def op_slice(self, node, args, env):
        start, size, step = [node.attrs[k] for k in ("start", "size", "step")]
        axes, starts, ends, steps = [], [], [], []
        for i in range(len(step)):
            a, n = self.extent(start[i], env), self.extent(size[i], env)
            if a == 0 and step[i] == 1 and str(size[i]) == args[0].type.shape[i]:
                continue
            axes.append(i)
            starts.append(a)
            ends.append(self.arith("+", self.arith("+", a, self.arith("*", self.arith("-", n, 1), step[i])), 1))
            steps.append(step[i])
        x = self.name(args[0], env)
        return [Value(node.types[0], self.cut(x, self.vector(starts), self.vector(ends), axes, steps) if axes else x)]

    def op_reverse(self, node, args, env):
        axes = node.attrs["axes"]
        n = len(axes)
        x = self.cut(self.name(args[0], env), self.ints([-1] * n), self.ints([np.iinfo(np.int64).min] * n), axes, [-1] * n)
        return [Value(node.types[0], x)]

    # ---- movement

    def op_pad(self, node, args, env):
        if any(s != 1 for s in node.attrs["step"]):
            raise InputError(f"entry '{self.entry}': zeros between neighbours ('pad' with a step) have no operator in ONNX")
        pads = self.vector([self.extent(d, env) for d in node.attrs["low"] + node.attrs["high"]])
        return [Value(node.types[0], self.emit("Pad", [self.name(args[0], env), pads], mode="constant"))]

    def op_concat(self, node, args, env):
        return [Value(node.types[0], self.emit("Concat", [self.name(a, env) for a in args], axis=node.attrs["axis"]))]

    def clamped(self, start, whole, size, env):
        zero, last = self.const(np.int64(0)), self.arith("-", self.extent(whole, env), size)
        last = self.const(np.int64(last)) if isinstance(last, int) else self.emit("Squeeze", [last])
        at = self.emit("Max", [self.emit("Min", [self.name(start, env), last]), zero])
        return self.emit("Reshape", [at, self.ints([1])])

    def op_dynamic_slice(self, node, args, env):
        axis = node.attrs["axis"]
        size = self.extent(node.attrs["size"], env)
        at = self.clamped(args[1], args[0].type.shape[axis], size, env)
        return [Value(node.types[0], self.cut(self.name(args[0], env), at, self.arith("+", at, size), [axis], [1]))]

    def op_dynamic_update(self, node, args, env):
        axis = node.attrs["axis"]
        size, x = self.extent(args[1].type.shape[axis], env), self.name(args[0], env)
        at = self.clamped(args[2], args[0].type.shape[axis], size, env)
        end = self.ints([np.iinfo(np.int64).max])
        parts = [self.cut(x, self.ints([0]), at, [axis], [1]), self.name(args[1], env), self.cut(x, self.arith("+", at, size), end, [axis], [1])]
        return [Value(node.types[0], self.emit("Concat", parts, axis=axis))]

    def op_gather(self, node, args, env):
        return [Value(node.types[0], self.emit("Gather", [self.name(a, env) for a in args], axis=node.attrs["axis"]))]

    def op_take_along(self, node, args, env):
        return [Value(node.types[0], self.emit("GatherElements", [self.name(a, env) for a in args], axis=node.attrs["axis"]))]

    def op_put_along(self, node, args, env):
        zero = self.emit("Expand", [self.number(0, node.types[0]), self.shape(node.types[0].shape, env)])
        x = self.emit("ScatterElements", [zero, self.name(args[1], env), self.name(args[0], env)], axis=node.attrs["axis"], reduction="add")
        return [Value(node.types[0], x)]

    # ---- reductions and contractions

    def reduce(self, op, node, args, env):
        axes = node.attrs["axes"]
        x = self.name(args[0], env)
        return [Value(node.types[0], self.emit(op, [x, self.ints(axes)], keepdims=int(node.attrs["keep"])) if axes else x)]

    def op_reduce_sum(self, node, args, env):
        return self.reduce("ReduceSum", node, args, env)

    def op_reduce_max(self, node, args, env):
        return self.reduce("ReduceMax", node, args, env)

    def op_reduce_min(self, node, args, env):
        return self.reduce("ReduceMin", node, args, env)

    def op_argmax(self, node, args, env):
        x = self.emit("ArgMax", [self.name(args[0], env)], axis=node.attrs["axis"], keepdims=0)
        return [Value(node.types[0], self.emit("Cast", [x], to=TensorProto.INT32))]

    def op_dot_general(self, node, args, env):
        a, b = args
        at = node.attrs
        x, y = self.name(a, env), self.name(b, env)
        ra, rb = len(a.type.shape), len(b.type.shape)
        if not at["batch_a"] and rb == 2 and at["contract_a"] == [ra - 1] and len(at["contract_b"]) == 1:
            if at["contract_b"] == [1]:
                y = self.turned(y)
            return [Value(node.types[0], self.emit("MatMul", [x, y]))]
        letters = iter("abcdefghijklmnopqrstuvwxyz")
        la, lb = [None] * ra, [None] * rb
        for i, j in [*zip(at["batch_a"], at["batch_b"]), *zip(at["contract_a"], at["contract_b"])]:
            la[i] = lb[j] = next(letters)
        la = [c or next(letters) for c in la]
        lb = [c or next(letters) for c in lb]
        out = [la[i] for i in at["batch_a"]]
        out += [c for i, c in enumerate(la) if i not in at["batch_a"] + at["contract_a"]]
        out += [c for i, c in enumerate(lb) if i not in at["batch_b"] + at["contract_b"]]
        return [Value(node.types[0], self.emit("Einsum", [x, y], equation=f"{''.join(la)},{''.join(lb)}->{''.join(out)}"))]

    def turned(self, name):
        if name in self.initializers:
            return self.const(np.ascontiguousarray(self.initializers[name].T), name + ".T")
        return self.emit("Transpose", [name], perm=[1, 0])

    def op_conv(self, node, args, env):
        at = node.attrs
        x = self.emit("Conv", [self.name(a, env) for a in args], strides=at["stride"], pads=at["pad_low"] + at["pad_high"], dilations=at["dilation"],
                      group=at["groups"])
        return [Value(node.types[0], x)]

    def op_window_max(self, node, args, env):
        window, stride = node.attrs["window"], node.attrs["stride"]
        dims = args[0].type.shape
        lead = len(dims) - len(window)
        x = self.name(args[0], env)
        if lead != 2:
            x = self.reshape(x, ["1", *(["*".join(f"({d})" for d in dims[:lead])] if lead else ["1"]), *dims[lead:]], env)
        y = self.emit("MaxPool", [x], kernel_shape=window, strides=stride)
        if lead != 2:
            y = self.reshape(y, node.types[0].shape, env)
        return [Value(node.types[0], y), None]

    # ---- routing

    def op_top_k(self, node, args, env):
        v, i = self.emit("TopK", [self.name(args[0], env), self.ints([node.attrs["k"]])], n=2, axis=-1, largest=1, sorted=1)
        return [Value(node.types[0], v), Value(node.types[1], self.emit("Cast", [i], to=TensorProto.INT32))]

    def op_route(self, node, args, env):
        tokens, k = args[0].type.shape
        num = node.attrs["num"]
        e = self.emit("Cast", [self.emit("Reshape", [self.name(args[0], env), self.ints([-1])]), ], to=TensorProto.INT64)
        n = self.arith("*", self.extent(tokens, env), self.extent(k, env))
        n1 = self.ints([n]) if isinstance(n, int) else n
        places = self.emit("Range", [self.const(np.int64(0)), self.emit("Squeeze", [n1]), self.const(np.int64(1))])
        keys = self.emit("Add", [self.emit("Mul", [e, n1]), places])  # by expert, then as they come
        _, order = self.emit("TopK", [keys, n1], n=2, axis=0, largest=0, sorted=1)
        row = self.emit("Cast", [self.emit("Div", [order, self.ints([int(k)])])], to=TensorProto.INT32)
        slot = self.emit("ScatterElements", [places, order, places], axis=0)
        slot = self.emit("Cast", [self.emit("Reshape", [slot, self.ints([-1, int(k)])])], to=TensorProto.INT32)
        below = self.emit("Less", [self.emit("Unsqueeze", [e, self.ints([0])]), self.const(np.arange(num + 1).reshape(-1, 1))])
        offsets = self.emit("ReduceSum", [self.emit("Cast", [below], to=TensorProto.INT32), self.ints([1])], keepdims=0)
        out = [Value(t, x) for t, x in zip(node.types, (row, slot, offsets))]
        out[2].from_route = True
        return out

    def op_ragged_dot(self, node, args, env):
        if not args[2].from_route:
            raise InputError(f"entry '{self.entry}': 'ragged_dot' of ranges that no routing gave has no operator in ONNX")
        x, w = self.name(args[0], env), self.name(args[1], env)
        offsets = self.emit("Cast", [args[2].name], to=TensorProto.INT64)
        n = int(args[1].type.shape[0])
        parts = []
        for i in range(n):
            begin, end = [self.cut(offsets, self.ints([j]), self.ints([j + 1]), [0], [1]) for j in (i, i + 1)]
            rows = self.cut(x, begin, end, [0], [1])
            parts.append(self.emit("MatMul", [rows, self.emit("Gather", [w, self.const(np.int64(i))], axis=0)]))
        return [Value(node.types[0], self.emit("Concat", parts, axis=0) if n > 1 else parts[0])]

    # ---- recurrences

    def body(self, name, inputs, build):
        """A subgraph; what it reads of the graph around it goes by name."""
        nodes, scope = self.nodes, self.scope
        self.nodes, self.scope = [], dict(scope)
        outputs = build([x for x, _ in inputs])
        outputs = [self.emit("Identity", [o]) for o in outputs]
        graph = helper.make_graph(self.nodes, name, [helper.make_tensor_value_info(x, _ONNX[t.dtype], [None] * len(t.shape)) for x, t in inputs],
                                  [helper.make_empty_tensor_value_info(o) for o in outputs])
        self.nodes, self.scope = nodes, scope
        for o, t in zip(graph.output, self.out_types):
            o.type.CopyFrom(helper.make_tensor_type_proto(_ONNX[t.dtype], [None] * len(t.shape)))
        return graph

    def scan(self, node, n_out, carries, xs, axis, reverse, types, build):
        """types: of carries and of what a step gives, outside the axis."""
        inputs = [(self.fresh("carry"), t) for _, t in carries] + [(self.fresh("x"), t) for _, t in xs]
        self.out_types = types
        graph = self.body(self.fresh("step"), inputs, build)
        n_ys = n_out - len(carries)
        way = dict(scan_input_axes=[axis] * len(xs), scan_input_directions=[int(reverse)] * len(xs))
        if n_ys:
            way.update(scan_output_axes=[axis] * n_ys, scan_output_directions=[int(reverse)] * n_ys)
        out = self.emit("Scan", [x for x, _ in carries] + [x for x, _ in xs], n=n_out, body=graph, num_scan_inputs=len(xs), **way)
        return [out] if n_out == 1 else out

    def op_linear_scan(self, node, args, env):
        at, t = node.attrs, node.types[0]
        axis = at["axis"]
        one = gir.Type(t.dtype, t.shape[:axis] + t.shape[axis + 1:])
        a, b, h = [self.name(v, env) for v in args]

        def build(names):
            h, a, b = names
            new = self.emit("Add", [self.emit("Mul", [a, h]), b])
            if at.get("forget"):
                new = self.emit("Where", [self.emit("Equal", [a, self.number(0, t)]), b, new])
            return [new, new]
        out = self.scan(node, 2, [(h, one)], [(a, one), (b, one)], axis, at["reverse"], [one, one], build)
        return [Value(t, out[1])]

    def op_scan(self, node, args, env):
        at = node.attrs
        func = self.module.funcs[at["body"][1:]]
        n_carry, n_xs, axis = at["n_carry"], at["n_xs"], at["axis"]
        step = [p.type for p in func.params]
        if not n_xs:
            raise InputError(f"entry '{self.entry}': a scan over nothing ({func.name}) has no operator in ONNX")
        names = [self.name(v, env) for v in args]
        inner = {s: self.extent(d, env) for s, d in zip(func.symbols, at["dims"])}
        types = []

        def build(inside):
            values = [Value(t, n) for t, n in zip(step, inside + names[n_carry + n_xs:])]
            results, updates, _ = self.run(func, values, inner)
            types.extend(r.type for r in results)
            return [self.name(r, inner) for r in results]
        out = self.scan(node, len(node.types), list(zip(names, step))[:n_carry], list(zip(names, step))[n_carry:n_carry + n_xs], axis, at["reverse"],
                        types, build)
        return [Value(t, o) for t, o in zip(node.types, out)]

    # ---- the whole

    def symbols(self, func, inputs):
        env = {}
        for p in inputs:
            for d, text in enumerate(p.type.shape):
                if text in func.symbols and text not in env:
                    env[text] = self.emit("Shape", [self.graph_name(p)], start=d, end=d + 1)
        return env

    def graph_name(self, p):
        return ("state." if p.role == "state" else "") + p.name

    def info(self, name, type):
        dims = [int(d) if d.lstrip("-").isdigit() else d for d in type.shape]
        return helper.make_tensor_value_info(name, _ONNX[type.dtype], dims)

    def constant(self, p):
        if p.role == "scalar":
            if p.name not in self.module.scalars:
                raise InputError(f"entry '{self.entry}' reads '{p.name}', which training sets")
            return self.const(np.array(self.module.scalars[p.name], _NUMPY[p.type.dtype]), p.name)
        return self.const(np.array(self.model.get(p.name)), p.name)

    def export(self):
        func = self.module.funcs.get(self.entry) or next(f for f in self.module.funcs.values() if f.kind == "entry")
        self.scope = {}
        inputs = [p for p in func.params if p.role in ("input", "state")]
        env = self.symbols(func, inputs)
        values = [Value(p.type, self.graph_name(p) if p in inputs else self.constant(p)) for p in func.params]
        results, updates, _ = self.run(func, values, env)
        outputs = []
        taken = {self.graph_name(p) for p in inputs}
        for name, v in zip(func.names, results):
            if name.startswith("$"):
                continue  # what the entry requires of values
            outputs.append((name if name not in taken else name + ".out", v))
        by_id = {p.id: p for p in func.params}
        last = {target: value for target, value in updates}
        outputs += [(self.graph_name(by_id[target]) + ".next", v) for target, v in last.items()]
        for name, v in outputs:
            self.nodes.append(helper.make_node("Identity", [self.name(v, env)], [name], name=name))
        graph = helper.make_graph(self.nodes, self.module.name, [self.info(self.graph_name(p), p.type) for p in inputs],
                                  [self.info(n, v.type) for n, v in outputs],
                                  [numpy_helper.from_array(a, n) for n, a in self.initializers.items()])
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], producer_name="dhcc")
        made.ir_version = min(made.ir_version, 11)
        self.prune(made.graph)
        onnx.checker.check_model(made, full_check=True)
        return made

    @staticmethod
    def prune(graph):
        """Without initializers that nobody reads (weights that are read the other way round)."""
        read = set()

        def look(g):
            for n in g.node:
                read.update(n.input)
                for a in n.attribute:
                    if a.type == onnx.AttributeProto.GRAPH:
                        look(a.g)
        look(graph)
        keep = [t for t in graph.initializer if t.name in read]
        del graph.initializer[:]
        graph.initializer.extend(keep)


def export(model, path, entry="forward", opset=OPSET):
    """Writes an entry of a model with its weights as an ONNX file; gives the onnx.ModelProto."""
    made = Exporter(model, entry, opset).export()
    onnx.save(made, path)
    return made


def main(argv=None):
    parser = argparse.ArgumentParser(prog="python -m dhcc.onnx", description="ONNX files of dhcc models.")
    commands = parser.add_subparsers(dest="command", required=True)
    e = commands.add_parser("export", help="an entry of a model as an ONNX file")
    e.add_argument("model")
    e.add_argument("-o", "--out", required=True)
    e.add_argument("--weights")
    e.add_argument("--entry", default="forward")
    e.add_argument("--preset")
    e.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    e.add_argument("--opset", type=int, default=OPSET)
    e.add_argument("--seed", type=int, default=0, help="of initial weights, where there are no others")
    i = commands.add_parser("import", help="an ONNX file as a model's text and weights")
    i.add_argument("file")
    i.add_argument("-o", "--out", required=True)
    i.add_argument("--weights", required=True)
    a = parser.parse_args(argv)
    try:
        if a.command == "import":
            text, weights = import_file(a.file)
            with open(a.out, "w") as f:
                f.write(text)
            save_weights(a.weights, weights)
            return 0
        sets = dict(s.split("=", 1) for s in a.set if "=" in s)
        if len(sets) < len(a.set):
            raise UsageError("--set: needs KEY=VALUE")
        export(load(a.model, preset=a.preset, set=sets, weights=a.weights, seed=a.seed), a.out, a.entry, a.opset)
    except Error as err:
        print(f"dhcc.onnx: {err}", file=sys.stderr)
        return 2 if isinstance(err, UsageError) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
