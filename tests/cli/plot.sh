#!/usr/bin/env bash
# Figures of sweeps, runs, ablations and costs: their numbers are those of the files they are drawn from; pages are looked at in
# a browser (chromium, or what BROWSER names), PDF and PNG drawn by gnuplot, where they are installed.
. "$(dirname "$0")/common.sh"
here=$(cd "$(dirname "$0")" && pwd)
cd "$work" || exit 1
skipped=
data=synth:mqar:length=12,pairs=2,vocab=22,n=64,n_test=32
model=(seq --set vocabulary=22 --set d_model=8 --set num_heads=2 --set num_layers=2 --set moe_frequency=0 --set ffn_inner=8 --set max_len=16)
"$dhcc" sweep "${model[@]}" --set ratio=1M,1M:1A,1A --opt batch=16 --train --data $data --epochs 2 --seeds 0,1 --quiet --out study > /dev/null || fail "a sweep"
"$dhcc" train "${model[@]}" --set ratio=1M:1A --data $data --batch 16 --epochs 3 --quiet --out run || fail "a run"

# ---- numbers ----
cat > check.py <<'P'
import csv, glob, json, math, os, re, subprocess, sys
import xml.etree.ElementTree as ET
dhcc, SVG = sys.argv[1], "{http://www.w3.org/2000/svg}"
def plot(*args):
    subprocess.run([dhcc, "plot", *args], check=True)
def points(*args):
    plot(*args, "-o", "p.json")
    plot(*args, "-o", "p.csv")
    doc, rows = json.load(open("p.json")), list(csv.reader(open("p.csv")))
    assert rows[0] == ["series", "name", doc["x"], doc["y"], "low", "high"], rows[0]
    flat = [(s["name"], p.get("name"), p.get("x"), p.get("y"), p.get("low"), p.get("high")) for s in doc["series"] for p in s["points"]]
    number = lambda t: float(t) if t else None
    assert flat == [(r[0], r[1], *(number(t) for t in r[2:])) for r in rows[1:]], (flat, rows)
    return doc, flat
results = list(csv.DictReader(open("study/results.csv")))
names = ["ratio=1M", "ratio=1M:1A", "ratio=1A"]
def mean(name, column):
    v = [float(r[column]) for r in results if r["name"] == name]
    return sum(v) / len(v)
close = lambda a, b: math.isclose(a, b, rel_tol=1e-12)
T = 12.706204736174694  # Student's t, one degree, 97.5 %
for y in "val_accuracy", "loss", "latency_ms":
    doc, flat = points("study", "--y", y)
    assert doc["x"] == "variant" and doc["y"] == y and [p[1] for p in flat] == names and [p[2] for p in flat] == [1, 2, 3]
    for p in flat:
        v = [float(r[y]) for r in results if r["name"] == p[1]]
        half = T * abs(v[0] - v[1]) / 2
        assert close(p[3], sum(v) / 2) and abs(p[4] - (p[3] - half)) < 1e-9 and abs(p[5] - (p[3] + half)) < 1e-9, (p, v)
for x in "flops", "latency_ms", "peak_bytes", "active_parameters", "seconds":
    doc, flat = points("study", "--x", x)
    assert doc["x"] == x and all(close(p[2], mean(p[1], x)) for p in flat), flat
doc, flat = points("study", "--x", "A", "--err", "none")
assert doc["x"] == "share of A among the mixers" and [p[2] for p in flat] == [0, 0.5, 1] and all(p[4] is None for p in flat), flat
doc, flat = points("study", "--x", "parameters", "--err", "sd")
assert [p[2] for p in flat] == [float(next(r for r in results if r["name"] == n)["parameters"]) for n in names]
for p in flat:
    v = [float(r["val_accuracy"]) for r in results if r["name"] == p[1]]
    sd = abs(v[0] - v[1]) / 2 ** 0.5
    assert abs(p[3] - p[4] - sd) < 1e-12 and abs(p[5] - p[3] - sd) < 1e-12, (p, v)
# curves: of a step that ends an epoch the row that has everything
def rows(folder, column):
    out = {}
    for r in csv.DictReader(open(folder + "/metrics.csv")):
        if r[column]: out[int(r["step"])] = float(r[column])
    return list(out.items())
doc, flat = points("run")
assert [(p[2], p[3]) for p in flat] == rows("run", "loss") + rows("run", "val_loss") and [s["name"] for s in doc["series"]] == ["loss", "val_loss"]
runs = sorted(glob.glob("study/runs/*"))
doc, flat = points(*runs[:2], "--y", "val_accuracy")
assert [s["name"] for s in doc["series"]] == runs[:2] and [(p[2], p[3]) for p in flat] == rows(runs[0], "val_accuracy") + rows(runs[1], "val_accuracy")
doc, flat = points("study", "run", "--x", "step")
assert [s["name"] for s in doc["series"]] == ["run"] + names
hashes = {r["name"]: r["hash"] for r in results}
for s in doc["series"][1:]:
    both = [dict(rows("study/runs/%s-s%d" % (hashes[s["name"]], k), "loss")) for k in (0, 1)]
    assert [p["x"] for p in s["points"]] == list(both[0]) and all(close(p["y"], (both[0][p["x"]] + both[1][p["x"]]) / 2) for p in s["points"])
    for p in s["points"]:  # the band over seeds
        half = T * abs(both[0][p["x"]] - both[1][p["x"]]) / 2
        assert abs(p["high"] - p["y"] - half) <= 1e-4 * half + 1e-9 and abs(p["y"] - p["low"] - half) <= 1e-4 * half + 1e-9, p
assert all(p.get("low") is None for p in doc["series"][0]["points"])
plot("study", "--x", "step", "-o", "band.svg")
assert len([p for p in ET.parse("band.svg").getroot().iter(SVG + "path") if p.get("class") == "band"]) == 3
# on the terminal: the first value, the course, the last one
told = subprocess.run([sys.argv[1], "plot", "run", "--y", "loss"], check=True, capture_output=True, text=True).stdout
want = rows("run", "loss")
assert re.fullmatch(r"run loss +%.5g [\u2581-\u2588]+ %.5g\n" % (want[0][1], want[-1][1]), told), told
assert len(set(told) & set("\u2581\u2588")) == 2, told
told = subprocess.run([sys.argv[1], "plot", "study"], check=True, capture_output=True, text=True).stdout
assert [l.split()[0] for l in told.splitlines()] == names and "(" in told, told
# the curve that train leaves is the one that plot draws, and a picture
plot("run", "-o", "again.svg")
assert open("run/curve.svg").read() == open("again.svg").read()
assert len([p for p in ET.parse("run/curve.svg").getroot().iter(SVG + "path")]) == 2
plot("study", "--x", "parameters", "--y", "loss", "--log", "xy", "-o", "log.svg")
assert [t.text for t in ET.parse("log.svg").getroot().iter(SVG + "title")] == ["%s: %.6g" % (n, mean(n, "loss")) for n in names]
# the page: every mean that it shows is the CSV's
plot("study", "-o", "study.html")
plot("study", "run", "-o", "mixed.html")
page = open("study.html").read()
assert not re.search(r"(src|href)=|url\(|@import|<script", page)
table = re.findall(r"<tr><td>([^<]*)<td>([^<]*)<td>(\d+)" + r"<td>([^<]*)" * 7 + "</tr>", page)
assert [t[0] for t in table] == names and [t[1] for t in table] == ["MM", "MA", "AA"] and {t[2] for t in table} == {"12"}, table
for t in table:
    assert t[6:9] == ("%.4g" % mean(t[0], "latency_ms"), "%.4g" % mean(t[0], "samples_s"), "%.4g" % mean(t[0], "seconds")), t
captions = re.findall("<figcaption>(.*?)</figcaption>", page)
for c in ("val_accuracy against variant", "val_accuracy against the share of A", "val_loss against the share of A", "val_accuracy against parameters",
          "val_accuracy against FLOPs forward, an example", "val_accuracy against ms forward, an example", "val_accuracy against bytes in training",
          "loss by step, means over the seeds", "val_accuracy by step, means over the seeds"):
    assert c in captions, (c, captions)
assert page.count("<svg") == len(captions)
assert json.load(open("study/sweep.json"))["command"].replace("&", "&amp;") in page
config = json.load(open("run/config.json"))["command"]
assert config in open("mixed.html").read()
P
python3 check.py "$dhcc" || fail "numbers of figures"
expect 2 '--err: needs ci95, sd or none, got "se"' "$dhcc" plot study --err se -o x.svg
expect 2 '--log: needs x, y or xy, got "z"' "$dhcc" plot study --log z -o x.svg
expect 2 "--y: no column 'speed' of results.csv is a number of a run" "$dhcc" plot study --y speed -o x.svg
expect 1 '--x speed: no variant of study has a number of that name' "$dhcc" plot study --x speed -o x.svg
expect 1 'run: metrics.csv has no columns step and speed' "$dhcc" plot run --y speed -o x.svg
cp -r study other && sed -i 's/"seeds":/"metric_asked": "loss", "seeds":/' other/sweep.json
expect 1 'study is about val_accuracy, other about loss: --y says which to draw' "$dhcc" plot study other -o x.svg
"$dhcc" plot study other --y loss -o both.svg || fail "--y says which to draw"
rm other/runs/*/run.json
expect 1 'other: no finished run has a number in column loss' "$dhcc" plot other -o x.svg
mkdir begun && echo step,loss > begun/metrics.csv
expect 1 'begun: no run has a number in column loss' "$dhcc" plot begun -o x.svg
expect 3 'none/x.svg: no such file or directory' "$dhcc" plot study -o none/x.svg
[ ! -e x.svg ] || fail "a figure that could not be drawn is there"

# ---- ablation and costs ----
weights=$(echo run/best.safetensors)
"$dhcc" ablate "${model[@]}" --set ratio=1M:1A --data $data --weights "$weights" --csv --quiet -o parts.json > parts.csv || fail "ablate -o"
"$dhcc" sweep "${model[@]}" --set ratio=1M,1M:1A,1A --cost-only --csv --quiet -o flops.json > costs.csv || fail "costs -o"
"$dhcc" sweep "${model[@]}" --set ratio=1M,1M:1A,1A --cost-only --quiet --x length -o length.json > /dev/null || fail "costs --x length -o"
"$dhcc" sweep "${model[@]}" --set ratio=1M,1M:1A,1A --cost-only --quiet --x parameters --y flops_train -o both.json > /dev/null || fail "costs --x --y -o"
"$dhcc" sweep "${model[@]}" --set ratio=1M,1M:1A,1A --cost-only --quiet -o costs.html > /dev/null || fail "costs -o page"
"$dhcc" info "${model[@]}" --set ratio=1M:1A --sizes B=1 -o info.json --json > info.txt || fail "info -o"
python3 - <<'P' || fail "figures of ablations and costs"
import csv, json
points = lambda name: [(s["name"], p.get("name"), p["x"], p["y"]) for s in json.load(open(name))["series"] for p in s["points"]]
parts = [r for r in csv.DictReader(open("parts.csv")) if r["scope"] != "whole"]
assert sorted((p[0], p[1], p[3]) for p in points("parts.json")) == sorted((r["scope"], r["name"], float(r["loss_change"])) for r in parts) and len(parts) > 6
costs = list(csv.DictReader(open("costs.csv")))
assert [(p[1], p[3]) for p in points("flops.json")] == [(r["name"], float(r["flops"])) for r in costs]
assert [p[2:] for p in points("both.json")] == [(float(r["parameters"]), float(r["flops_train"])) for r in costs]
for r in costs:
    line = [(p[2], p[3]) for p in points("length.json") if p[0] == r["name"]]
    token, top = float(r["cache_bytes_token"] or 0), float(r["cache_max_bytes"] or "inf")
    assert line == [(n, float(r["state_bytes"] or 0) + min(token * n, top)) for n in (2 ** k for k in range(4, 17))], (r, line)
info = json.load(open("info.txt"))
lengths = {d["length"]: d for d in info["lengths"]}
for series, key in ("states", "state_bytes"), ("keys and values", "cache_bytes"):
    line = {p[2]: p[3] for p in points("info.json") if p[0] == series}
    assert all(line[n] == d[key] for n, d in lengths.items()), (series, line)
P
expect 2 "--x: no column 'paramters' of costs (did you mean 'parameters'?)" "$dhcc" sweep "${model[@]}" --set ratio=1M,1A --cost-only --x paramters -o x.svg
expect 2 'sweep: -o, --x and --y need --cost-only; dhcc plot draws sweeps that were trained' "$dhcc" sweep "${model[@]}" --set ratio=1M,1A -o x.svg
expect 2 '--x: needs -o FILE' "$dhcc" sweep "${model[@]}" --set ratio=1M,1A --cost-only --x flops
expect 2 '--x length: draws bytes that a sequence keeps; leave --y out' "$dhcc" sweep "${model[@]}" --set ratio=1M,1A --cost-only --x length --y flops -o x.svg
expect 2 '-o x.tex: needs a name that ends in .svg, .pdf, .png, .gp, .csv or .json or .html' "$dhcc" sweep "${model[@]}" --set ratio=1M,1A --cost-only -o x.tex
expect 2 'info: -o needs FILE that ends in .svg, .pdf, .png, .gp, .csv or .json' "$dhcc" info mlp -o x.html
expect 2 'ablate: -o needs FILE that ends in .svg, .pdf, .png, .gp, .csv or .json' "$dhcc" ablate "${model[@]}" --data $data --weights "$weights" -o x.html
expect 1 '--x length: nothing keeps states or caches' "$dhcc" info mlp -o x.svg

# ---- gnuplot ----
odd='it'"'"'s; a $(b) `c` "d" \e %f @g'
cp -r study "$odd"
"$dhcc" plot "$odd" study -o odd.gp && grep -q "'it''s; a \$(b) \`c\` \"d\" \\\\e %f @g'" odd.gp || fail "a name with everything in it: $(grep title odd.gp)"
mkdir empty-path
PATH=$work/empty-path expect 3 'x.pdf: gnuplot draws .pdf and .png, and is not installed (on Debian: apt-get install gnuplot-nox); .svg and .gp need none' "$dhcc" plot study -o x.pdf
[ ! -e x.pdf ] || fail "what gnuplot did not draw is there"
if command -v gnuplot > /dev/null; then
  printf '#!/bin/sh\necho "gnuplot> set terminal pdfcairo"\necho "         line 1: unknown or ambiguous terminal type" >&2\nexit 1\n' > empty-path/gnuplot
  chmod +x empty-path/gnuplot
  PATH=$work/empty-path:$PATH expect 3 'x.pdf: gnuplot ended with status 1: unknown or ambiguous terminal type' "$dhcc" plot study -o x.pdf
  for args in "study" "study --x A" "study --x parameters --log xy" "run" "study run --x epoch"; do
    for form in pdf png; do
      rm -f out.$form
      # shellcheck disable=SC2086
      "$dhcc" plot $args -o out.$form 2> err || fail "plot $args -o out.$form: $(cat err)"
      python3 - out.$form <<'P' || fail "plot $args -o out.$form is no picture"
import sys, zlib
data = open(sys.argv[1], "rb").read()
assert data[:4] in (b"%PDF", b"\x89PNG") and len(data) > 5000, len(data)
P
    done
  done
  "$dhcc" plot "$odd" study -o odd.pdf 2> err || fail "a name with everything in it: $(cat err)"
  "$dhcc" ablate "${model[@]}" --set ratio=1M:1A --data $data --weights "$weights" --quiet -o parts.png > /dev/null || fail "ablate -o parts.png"
  "$dhcc" plot study -o own.gp && gnuplot own.gp && head -c 4 own.pdf | grep -q '%PDF' || fail "gnuplot's commands by themselves"
  ! ls -a | grep dhc-tmp || fail "what was drawn half is left"
else
  skipped="gnuplot"
fi

# ---- pages in a browser ----
browser=${BROWSER:-$(command -v chromium)}
if [ -n "$browser" ]; then
  "$dhcc" graph seq --depth 3 -o graph.html || fail "a page of a graph"
  "$dhcc" plot study "$odd" -o two.html || fail "a page of two sweeps"
  python3 "$here/browser.py" "$browser" "${SCREENSHOTS:-shots}" study.html mixed.html two.html costs.html graph.html > looked || fail "in the browser: $(cat looked)"
  # what it looks for is seen where it is
  printf '<!doctype html><meta name=viewport content="width=device-width"><style>:root{color-scheme:light dark}</style><img src=gone.png><script>console.error(1)</script><div style="width:900px"><svg width=50 height=20><text x=30 y=15>cut off</text></svg></div>' > bad.html
  python3 "$here/browser.py" "$browser" bad bad.html > looked && fail "a bad page passes"
  for what in 'pixels wide, 360 are there' 'outside of its figure' 'bad.html fetches file://' 'bad.html says' 'text is'; do grep -q "$what" looked || fail "not seen: $what: $(cat looked)"; done
else
  skipped="$skipped chromium"
fi
if [ -n "$skipped" ] && [ "$fails" = 0 ]; then
  echo "skipped in part: not installed: $skipped"
  exit 77
fi
finish
