"""lsp.py DHCC WORK: speaks the Language Server Protocol with `dhcc lsp`."""
import json, pathlib, subprocess, sys
dhcc, work = sys.argv[1], pathlib.Path(sys.argv[2])
p = subprocess.Popen([dhcc, "lsp"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
number = 0


def send(message):
    body = json.dumps({"jsonrpc": "2.0", **message}).encode()
    p.stdin.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
    p.stdin.flush()


def receive():
    n = int(p.stdout.readline().split(b":")[1])
    assert p.stdout.readline() == b"\r\n"
    return json.loads(p.stdout.read(n))


def ask(method, **params):
    global number
    number += 1
    send({"id": number, "method": method, "params": params})
    got = receive()
    assert got["id"] == number, got
    return got


def tell(method, **params):
    send({"method": method, "params": params})


TEXT = """import std/nn
import layers/linear

# A müde layer: columns count UTF-16 units.
layer Block(width: int) {
  fc = Linear(width, width)
  forward<B>(x: [B, width]) -> (y: [B, width]) {
    h = fc(relu(x))
    return x + h
  }
}
model Two(d: int = 8) {
  first = Block(d)
  head = Linear(d, 3)
  forward<B>(x: [B, d]) -> (y: [B, 3]) {
    /* größe 😀 */ z = first(x)
    w = head(z)
    return w
  }
}
"""
file = work / "a two.dhc"
uri = "file://" + str(file).replace(" ", "%20")
about = {"textDocument": {"uri": uri}}


def place(text, what, nth=0, more=0):
    at = -1
    for _ in range(nth + 1):
        at = text.index(what, at + 1)
    at += more
    line = text.count("\n", 0, at)
    start = text.rfind("\n", 0, at) + 1
    return {"line": line, "character": len(text[start:at].encode("utf-16-le")) // 2}


def hover(what, nth=0, more=0, text=TEXT):
    r = ask("textDocument/hover", position=place(text, what, nth, more), **about)["result"]
    return r["contents"]["value"] if r else None


def goes_to(what, nth=0, more=0):
    r = ask("textDocument/definition", position=place(TEXT, what, nth, more), **about)["result"]
    return r and (r["uri"], r["range"]["start"])


can = ask("initialize", processId=None, rootUri=None, capabilities={})["result"]["capabilities"]
assert can["hoverProvider"] and can["definitionProvider"] and can["textDocumentSync"] == 1, can
tell("initialized")
tell("textDocument/didOpen", textDocument={"uri": uri, "languageId": "dhc", "version": 1, "text": TEXT})
said = receive()
assert said["method"] == "textDocument/publishDiagnostics" and said["params"] == {"uri": uri, "diagnostics": []}, said

assert "shape: `f32[B, 8]`" in hover("z =") and "z = first(x)" in hover("z ="), hover("z =")
assert "shape: `f32[B, 8]`" in hover("head(z)", 0, 5), hover("head(z)", 0, 5)
assert "shape: `f32[B, 3]`" in hover("return w", 0, 7), hover("return w", 0, 7)
assert "x: [B, d]" in hover("first(x)", 0, 6), hover("first(x)", 0, 6)
assert "fn relu" in hover("relu") or "relu<...S>" in hover("relu"), hover("relu")
assert "layer Linear(in_features" in hover("Linear(width"), hover("Linear(width")
assert "layer Block(width: int)" in hover("Block(d)"), hover("Block(d)")
assert hover("# A m", 0, 1) is None

assert goes_to("first(x)") == (uri, place(TEXT, "first = ")), goes_to("first(x)")
assert goes_to("Block(d)") == (uri, place(TEXT, "Block(width")), goes_to("Block(d)")
assert goes_to("x + h", 0, 4) == (uri, place(TEXT, "h = fc")), goes_to("x + h", 0, 4)
assert goes_to("head(z)", 0, 5) == (uri, place(TEXT, "z = first")), goes_to("head(z)", 0, 5)
where = goes_to("Linear(d")
assert where[0].endswith("layers/linear.dhc") and where[1]["character"] == 6, where

labels = {i["label"] for i in ask("textDocument/completion", position=place(TEXT, "w = head", 0, 0), **about)["result"]}
assert {"first", "head", "z", "w", "d", "Linear", "relu", "reshape", "tanh"} <= labels and "h" not in labels and "fc" not in labels, sorted(labels)
labels = {i["label"] for i in ask("textDocument/completion", position=place(TEXT, "relu(x)", 0, 2), **about)["result"]}
assert "relu" in labels and all(l.startswith("re") for l in labels), labels
labels = {i["label"] for i in ask("textDocument/completion", position=place(TEXT, "import layers/", 0, 14), **about)["result"]}
assert {"layers/mamba", "std/optim"} <= labels and "relu" not in labels, labels

wrong = TEXT.replace("Linear(d, 3)", "Linear(d, 4)")
tell("textDocument/didChange", contentChanges=[{"text": wrong}], textDocument={"uri": uri, "version": 2})
d = receive()["params"]["diagnostics"]
assert len(d) == 1 and d[0]["code"] == "E0308" and d[0]["severity"] == 1 and "got f32[B, 4]" in d[0]["message"], d
assert d[0]["range"]["start"] == place(wrong, "return w") and d[0]["relatedInformation"], d
broken = TEXT.replace("return x + h", "return x + ")
tell("textDocument/didChange", contentChanges=[{"text": broken}], textDocument={"uri": uri, "version": 3})
d = receive()["params"]["diagnostics"]
assert d and d[0]["code"].startswith("E02") and d[0]["range"]["start"]["line"] in (8, 9), d
assert "layer Block" in hover("Block(d)", text=broken), "names are known in spite of errors"
hint = TEXT.replace("relu(x)", "rellu(x)")
tell("textDocument/didChange", contentChanges=[{"text": hint}], textDocument={"uri": uri, "version": 4})
d = receive()["params"]["diagnostics"]
assert d and "hint: did you mean 'relu'?" in d[0]["message"], d
assert not file.exists()

assert ask("textDocument/rename", **about)["error"] == {"code": -32601, "message": "no such method"}
send({"id": 99})
assert receive()["error"] == {"code": -32600, "message": "a message needs a method"}
tell("textDocument/didClose", **about)
assert ask("textDocument/hover", position={"line": 0, "character": 0}, **about)["result"] is None
assert ask("shutdown")["result"] is None
assert ask("shutdown")["error"]["message"] == "the server is shut down"
tell("exit")
assert p.wait(20) == 0 and p.stdout.read() == b""
print("ok")
