"""The text form of the IR (`dhcc print --stage=graph`), read into plain objects. Strict: what it does not know is an error with its
line."""
import ast
import re
from dataclasses import dataclass, field

from .errors import InputError


@dataclass
class Type:
    dtype: str
    shape: tuple  # of texts: "B", "3", "2*L + 1"


@dataclass
class Param:
    id: str
    type: Type
    role: str
    name: str


@dataclass
class Node:
    results: list
    op: str
    args: list
    attrs: dict
    types: list
    line: int


@dataclass
class Func:
    name: str
    symbols: list
    params: list
    results: list  # ids
    names: list    # of the results, "" where they have none
    kind: str
    nodes: list = field(default_factory=list)


@dataclass
class Module:
    name: str
    tensors: dict = field(default_factory=dict)  # path -> Type
    scalars: dict = field(default_factory=dict)
    funcs: dict = field(default_factory=dict)


def split(text):
    """At commas outside of brackets and quotes."""
    parts, depth, quoted, last = [], 0, False, 0
    for i, c in enumerate(text):
        if c == '"' and (i == 0 or text[i - 1] != "\\"):
            quoted = not quoted
        elif not quoted and c in "([{":
            depth += 1
        elif not quoted and c in ")]}":
            depth -= 1
        elif not quoted and c == "," and depth == 0:
            parts.append(text[last:i].strip())
            last = i + 1
    tail = text[last:].strip()
    return parts + [tail] if tail or parts else []


def parse_type(text):
    m = re.fullmatch(r"(\w+)\[(.*)\]", text.strip())
    if not m:
        raise ValueError(f"no type: {text}")
    return Type(m[1], tuple(split(m[2])))


def _attr(text):
    if text.startswith("["):
        return [_attr(x) for x in split(text[1:-1])]
    if text in ("true", "false"):
        return text == "true"
    if re.fullmatch(r"-?\d+", text):
        return int(text)
    if re.fullmatch(r"-?(0x[0-9a-f.]+p[+-]?\d+|inf|nan)", text):
        return float.fromhex(text)
    return text


def _param(text):
    m = re.fullmatch(r"(%\d+): (\w+\[.*?\]) (\w+)(?: \"(.*?)\")?(?: #\d+)?", text)
    if not m:
        raise ValueError(f"no parameter: {text}")
    return Param(m[1], parse_type(m[2]), m[3], m[4] or "")


def _head(text):
    m = re.fullmatch(r"func @([^<(]+)(?:<(.*?)>)?\((.*)\) -> \((.*?)\) (\w+)(?: .*)? ?\{", text)
    if not m:
        raise ValueError("no function")
    results = [re.fullmatch(r"(%\d+)(?: \"(.*?)\")?", r) for r in split(m[4])]
    return Func(m[1], split(m[2] or ""), [_param(p) for p in split(m[3])], [r[1] for r in results], [r[2] or "" for r in results], m[5])


def _node(text, line):
    m = re.fullmatch(r"(%[^=]+?) = (\w+)\((.*?)\)(?: \{(.*)\})? : (.*)", text)
    if not m:
        raise ValueError("no node")
    attrs = {}
    for a in split(m[4] or ""):
        k, _, v = a.partition(" = ")
        attrs[k] = _attr(v)
    return Node(split(m[1]), m[2], split(m[3]), attrs, [parse_type(t) for t in split(m[5])], line)


def parse(text):
    module, func, head = None, None, ""
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        try:
            if head or line.startswith("func "):
                head += (" " if head and not head.endswith("(") else "") + line
                if line.endswith("{"):
                    func, head = _head(head), ""
                    module.funcs[func.name] = func
            elif not line:
                continue
            elif line == "}":
                func = None
            elif func:
                func.nodes.append(_node(line, number))
            elif line.startswith("module "):
                module = Module(re.fullmatch(r'module "(.*)"', line)[1])
            elif line.startswith("tensor "):
                m = re.fullmatch(r'tensor "(.*?)" \w+ (\w+\[.*?\])(?: .*)?', line)
                module.tensors[m[1]] = parse_type(m[2])
            elif line.startswith("scalar "):
                m = re.fullmatch(r'scalar "(.*)" = (.*)', line)
                module.scalars[m[1]] = float.fromhex(m[2])
            else:
                raise ValueError("what is this?")
        except (ValueError, TypeError, AttributeError) as e:
            raise InputError(f"IR text, line {number}: {e}: {line[:120]}") from e
    return module


def dim(text):
    """An extent as Python's syntax tree: numbers, names, + - * //."""
    return ast.parse(text, mode="eval").body
