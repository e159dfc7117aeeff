"""doc_check.py DHCC LANGUAGE.md: every example of docs/language.md, put into a model, passes `dhcc check`.

FRAMES has one entry for each example, in their order: the model text around it, `%s` where it goes. A list of frames
takes the example apart: each line that holds the frame's key goes into that frame by itself. `{ ... }` stands for a body
(BODIES). An example or a line without a frame is an error, and so is a frame that none needs."""
import os
import re
import subprocess
import sys
import tempfile

BODIES = {"forward": "return x", "loss": "logits = zeros([B, 10])\n return mean(image) + 0.0 * mean(cross_entropy(logits, target)), logits",
          "accuracy": "return mean(float(argmax(logits, axis = -1) == target))", "augment": "return image * 2.0",
          "classify": "return argmax(mean(float(image), axis = [2, 3]), axis = -1)", "attend": "return q"}
HEAD = "import std/nn\nimport std/init\nimport layers/linear\nimport layers/norm\nlayer Cell(d: int) {\n forward<B, L>(x: [B, L, d]) -> (y: [B, L, d]) { return x }\n}\n"
BLOCK = "layer Block(d: int) {\n norm = RMSNorm(d)\n forward<B, L>(x: [B, L, d]) -> (y: [B, L, d]) { return norm(x) }\n}\n"
FORWARD = " forward<B, L>(x: [B, L, d]) -> (y: [B, L, d]) { return x }\n"


def members(above, uses="return x"):
    return (HEAD + BLOCK + "model M(d: int = 8, d_model: int = 8, expand: int = 2, num_heads: int = 2, tokens: enum(pooled, grid) = grid, d_ff: int = 3,"
            " e: int = 2, f: int = 4, n: int = 3, max_len: int = 6) {\n" + above + "\n"
            " forward<B, L>(x: [B, L, d]) -> (y: [B, L, d]) {\n " + uses + "\n }\n}\n")


def statements(line, above="", loss="mean(x * w)"):
    return (HEAD + BLOCK + "model M(d: int = 8, n: int = 2) {\n param w: [d] = ones()\n buffer running_mean: [d] = zeros()\n for i in 0..n { layers[i] = Block(d) }\n"
            " loss<B, L>(x: [B, L, d]) -> (loss: []) {\n " + above + "\n " + line + "\n return " + loss + "\n }\n}\n")


IN_TWO = " for i in 5..6 {\n  for j in 2..4 { %s }\n }"
FRAMES = [
    "%s",
    "%s\nmodel M(d: int = 4) {\n a = Linear(d, d)\n b = FromBlocks(d)\n c = FromHeads(d)\n forward<B>(x: [B, d]) -> (y: [B, d]) { return c(b(a(x))) }\n}\n",
    [("const d_inner", members(" %s")),
     ("require d_model", members(" %s")),
     ("in_proj =", members(" const d_inner = expand * d_model\n %s", "return in_proj(x)[..., :d]")),
     ("layers[i] = Block(d)      ", members(" for i in 5..7 { %s\n }", "return layers[5](x)")),
     ("blocks[i][j]", members(IN_TWO.replace("}\n }", "\n }\n }"), "return blocks[5][2](x)")),
     ("param w: [d, d_ff]", members(" %s", "return x + mean(w)")),
     ("param A_log", members(" const d_inner = expand * d_model\n %s", "return x + mean(A_log)")),
     ("param w1", members(" %s", "return x + mean(w1)")),
     ("param qkv", members(" %s", "return x + mean(qkv)")),
     ("param kv", members(" %s", "return x + mean(kv)")),
     ("head as", members(" %s", "return x + mean(head(x))")),
     ("buffer running_mean", members(" %s", "return x - running_mean")),
     ("table cos_t", HEAD + "model M(d: int = 8, max_len: int = 6) {\n %s\n forward<B>(x: [B, max_len, d]) -> (y: [B, max_len, d]) { return x * cos_t }\n}\n"),
     ("state h", HEAD + "model M(d_inner: int = 8, n: int = 6) {\n %s\n forward<B>(x: [B, d_inner, n]) -> (y: [B, d_inner, n]) {\n  h = h + x\n  return h\n }\n}\n"),
     ("init Linear.weight", members(" a = Linear(d, d)\n %s", "return a(x)")),
     ("init \"layers.3", members(" for i in 0..4 { layers[i] = Block(d) }\n %s", "return layers[3](x)")),
     ("for i in 0..n { layers", members(" %s", "return layers[2](x)")),
     ("if tokens == grid", members(" %s", "return cell(x)"))],
    "import std/nn\nmodel M(d: int = 8) {\n%s\n}\n",
    "%s\nmodel M(d: int = 4) {\n c = Cell(d)\n forward<B, L>(x: [B, L, d]) -> (y: [B, L, d]) { return c(x) }\n}\n",
    "%s\nfn attend_vjp<B, L>(q: [B, L], causal: bool, o: [B, L], d: [B, L]) -> (dq: [B, L]) { return d }\n"
    "model M(d: int = 4) {\n param w: [head_size(12, 3)] = ones()\n loss<B, L>(x: [B, L]) -> (loss: []) { return mean(gelu(attend(x))) * mean(w) }\n}\n",
    [("y = relu(x)", statements("%s\n x = y")),
     ("a, b = split", statements("%s\n x = concat([a, b], axis = -1)")),
     ("a, b = b, a", statements("%s\n x = a + b", "a = x\n b = x * 2.0")),
     ("running_mean <-", statements("if training {\n %s\n }", "m = mean(x, axis = [0, 1])")),
     ("tap load_balance", statements("%s\n x = x + taps(\"*.load_balance\")", "p = x")),
     ("require H >= 4", HEAD + "model M() {\n forward<B, H, W>(x: [B, H, W]) -> (y: [B, H, W]) {\n %s\n return x\n }\n}\n"),
     ("if H >= 4 and", HEAD + "model M() {\n forward<B, H, W>(x: [B, 3, H, W]) -> (y) {\n %s\n return x\n }\n}\n"),
     ("for i in 0..n", statements("%s")),
     ("return y, h", HEAD + "model M() {\n forward<B>(x: [B]) -> (y: [B], h: [B]) {\n y = x\n h = x\n %s\n }\n}\n"),
     ("yield y", statements("x = unit {\n y = x * 2.0\n %s\n }"))],
    HEAD + "model M(d: int = 4) {\n param w: [4 * d, d] = ones()\n param u: [4 * d, d] = ones()\n param bias: [4 * d] = zeros()\n"
    " forward<B, L>(x: [B, L, d]) -> (y: [B, L, d]) {\n h0 = zeros([B, d])\n c0 = zeros([B, d])\n%s\n return y\n }\n}\n",
    "import std/nn\nimport std/optim\nmodel Tiny(d: int = 4, n: int = 2, pattern: string = \"MA\") {\n param w: [d] = ones()\n"
    " loss<B>(x: [B, d]) -> (loss: []) {\n tap tokens_per_expert = x\n return mean(x * w) * float(n)\n }\n}\n%s",
    "import std/nn\nimport std/optim\nimport layers/linear\n%s",
]
BESIDE = {"blocks.dhc": "layer FromBlocks(d: int) {\n forward<B>(x: [B, d]) -> (y: [B, d]) { return x }\n}\n",
          "lib/heads.dhc": "layer FromHeads(d: int) {\n forward<B>(x: [B, d]) -> (y: [B, d]) { return x }\n}\n"}


def cases():
    with open(sys.argv[2], encoding="utf-8") as f:
        blocks = re.findall(r"^```\n(.*?)^```", f.read(), re.S | re.M)
    if len(blocks) != len(FRAMES):
        sys.exit("docs/language.md has %d examples, there are frames for %d" % (len(blocks), len(FRAMES)))
    for number, (block, frame) in enumerate(zip(blocks, FRAMES), 1):
        block = re.sub(r"(?m)^(.*?(\w+)(?:<[^>]*>)?\(.*)\{ \.\.\. \}", lambda m: m[1] + "{\n " + BODIES[m[2]] + "\n }", block)
        if isinstance(frame, str):
            yield "example %d" % number, frame.replace("%s", block)
            continue
        left = [line for line in block.split("\n") if line.strip()]
        for key, text in frame:
            lines = [line for line in left if line.startswith(key)]
            if len(lines) != 1:
                sys.exit("example %d: %d lines begin with %s" % (number, len(lines), key))
            left.remove(lines[0])
            yield "example %d, %s" % (number, key.strip()), text.replace("%s", lines[0])
        if left:
            sys.exit("example %d has no frame for %s" % (number, left[0]))


bad = 0
with tempfile.TemporaryDirectory() as folder:
    os.mkdir(folder + "/lib")
    for name, text in BESIDE.items():
        with open(folder + "/" + name, "w") as f:
            f.write(text)
    n = 0
    for name, text in cases():
        with open(folder + "/m.dhc", "w") as f:
            f.write(text)
        done = subprocess.run([sys.argv[1], "check", folder + "/m.dhc"], capture_output=True, text=True)
        n += 1
        if done.returncode or "no errors" not in done.stdout + done.stderr:
            bad += 1
            print("%s: %s%s" % (name, done.stdout, done.stderr))
print("%d texts, %d wrong" % (n, bad))
sys.exit(bad > 0)
