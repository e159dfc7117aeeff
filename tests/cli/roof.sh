#!/usr/bin/env bash
# tune, stopped; profile: tables, the document, a trace, a page; bench of a model. Times are the machine's, what they add up to is not.
. "$(dirname "$0")/common.sh"
DHC_STOP_AT_POLL=1 expect 130 "tune: stopped; what was measured is in $work/t.tuning" "$dhcc" tune mlp --sizes B=1 -o "$work/t.tuning"
expect 0 'a run: median ' "$dhcc" profile mlp --sizes B=64 --repeat 3 --threads 1
expect 0 'the roof: ' "$dhcc" profile mlp --sizes B=64 --repeat 3 --threads 1
expect 2 '-o p.txt: profile writes .json, a trace for ui.perfetto.dev, or .html, a page' "$dhcc" profile mlp --sizes B=64 --repeat 3 -o p.txt
expect 3 'no such file or directory' "$dhcc" profile mlp --sizes B=64 --repeat 3 -o "$work/none/p.json"
expect 2 "--sizes: entry 'forward' has no size 'Q'" "$dhcc" profile mlp --sizes Q=64
"$dhcc" profile seq --set vocabulary=16 --set d_model=8 --set num_layers=2 --set num_heads=2 --sizes B=2,L=9 --repeat 4 --json > "$work/p" || fail "no document"
"$dhcc" profile seq --set vocabulary=16 --set d_model=8 --set num_layers=2 --set num_heads=2 --sizes B=2,L=9 --repeat 4 -o "$work/t.json" --quiet || fail "no trace"
"$dhcc" profile mlp --grad --sizes B=4 --repeat 2 -o "$work/p.html" --quiet || fail "no page"
"$dhcc" bench mlp --sizes B=4 --repeat 5 --json > "$work/b" || fail "no bench"
expect 0 'median ' "$dhcc" bench mlp --sizes B=4
# a recurrence over states and its derivative keep no tensor of [B, L, d, n]: half of one a further step, whatever the length, and where that is
# known to be whole chunks the states between them alone
cat > "$work/scan.dhc" <<'M'
import std/nn
model Scan(d: int = 64, n: int = 16) {
  param A: [d, n] = zeros()
  param D: [d] = ones()
  forward<B, L>(x: [B, L, d], dt: [B, L, d], b: [B, L, n], c: [B, L, n]) -> (y: [B, L, d]) {
    y, h = selective_scan(x, dt, -exp(A), b, c, D, zeros([B, d, n]))
    return y
  }
}
M
sed 's/\[B, L,/[B, 32 * L,/g' "$work/scan.dhc" > "$work/whole.dhc"
for length in 512 1024; do
  "$dhcc" bench "$work/scan.dhc" --grad --entry forward --sizes B=2,L=$length --repeat 1 --threads 1 --json > "$work/scan$length" || fail "no bench of a scan"
  "$dhcc" bench "$work/whole.dhc" --grad --entry forward --sizes B=2,L=$((length / 32)) --repeat 1 --threads 1 --json > "$work/whole$length" || fail "no bench of chunks"
done
python3 - "$work" <<'P' || fail "profiles do not add up"
import json, sys
load = lambda name: json.load(open(sys.argv[1] + "/" + name))
short, long = (load("scan%d" % n)["work_bytes"] for n in (512, 1024))
assert 0 < short and long < 2 * short and long - short < 0.5 * (2 * 512 * 64 * 16 * 4), (short, long)
short, long = (load("whole%d" % n)["work_bytes"] for n in (512, 1024))
assert 0 < short and long - short <= 2 * 512 // 32 * 64 * 16 * 4, (short, long)
p, b, events = load("p"), load("b"), load("t.json")["traceEvents"]
assert p["runs"] == 4 and p["min_ms"] <= p["p25_ms"] <= p["median_ms"] <= p["p75_ms"] <= p["max_ms"]
assert b["runs"] == 5 and b["min_ms"] > 0 and "kernels" not in b
assert p["peak_gflop_per_s"] > 1 and p["peak_gb_per_s"] > 0.1
for key in ("ms", "flops", "bytes", "calls"):
    a, c = (sum(r[key] for r in p[t]) for t in ("kernels", "layers"))
    assert abs(a - c) <= 1e-9 * a, (key, a, c)
assert p["kernels"] == sorted(p["kernels"], key=lambda r: -r["ms"])
assert {r["name"] for r in p["layers"]} >= {"embedding"} or any("layers.1" in r["name"] for r in p["layers"]), p["layers"]
assert all(e["ph"] == "X" and e["dur"] >= 0 and e["ts"] >= 0 for e in events)
assert len(events) == round(sum(r["calls"] for r in p["kernels"])), (len(events), sum(r["calls"] for r in p["kernels"]))
roof = [max(r["flops"] / p["peak_gflop_per_s"], r["bytes"] / p["peak_gb_per_s"]) * 1e-6 / r["ms"] for r in p["kernels"] if r["ms"] > 0]
assert all(abs(a - r["of_roof"]) < 1e-6 * a + 1e-12 for a, r in zip(roof, p["kernels"])), roof
page = open(sys.argv[1] + "/p.html").read()
assert page.startswith("<!doctype html>") and page.rstrip().endswith("</html>") and page.count("<table>") == 2
P
finish
