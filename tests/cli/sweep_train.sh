#!/usr/bin/env bash
# sweep --train: the same results however it is stopped, killed, cut into shards and merged; what is wrong is one line.
own_store=1 # calls that change files are counted
. "$(dirname "$0")/common.sh"
set -m # or jobs in the background ignore SIGINT
here=$(cd "$(dirname "$0")" && pwd)
killer=${2:-}
cd "$work" || exit 1
python3 "$here/data.py" data 48
sed -n '/^cat > "$work\/m.dhc"/,/^M$/p' "$here/runs.sh" | sed '1d;$d' > m.dhc
echo 'variants size for Small { tiny { hidden = 2 } small { hidden = 8 } big { hidden = 16 } same { hidden = 8 } }' >> m.dhc
by= # exec: in place of the shell, so that a signal meets the sweep
sweep() { $by "$dhcc" sweep m.dhc --variants size --train --data npy:data --epochs 2 --seeds 0,1,2 --baseline size.small --threads 1 --quiet "$@"; }
"$dhcc" sweep m.dhc --variants size --sizes B=2 --quiet > /dev/null || fail "a step of each" # kernels
sweep --out whole > whole.txt || fail "a sweep"
# what its weights come to for what their objects take
"$dhcc" sweep m.dhc --variants size --entry loss --build --data npy:data --out whole --sizes B=1 --quiet > built.txt || fail "sweep --build --data"
"$dhcc" sweep m.dhc --variants size --entry loss --build --data npy:data --out whole --sizes B=1 --limit 7 --json > built.json || fail "sweep --build --data --json"
head -1 built.txt | grep -q 'accuracy  a kilobyte  variant$' || fail "columns of $(cat built.txt)"
python3 - built.json "$dhcc" <<'P' || fail "accuracy of objects"
import glob, json, subprocess, sys
doc = json.load(open(sys.argv[1]))
for v in doc["variants"]:
    run, = glob.glob("whole/runs/%s-s0/best.safetensors" % v["hash"])
    name = {"size.tiny": 2, "size.small": 8, "size.big": 16}[v["name"]]
    got = json.loads(subprocess.run([sys.argv[2], "eval", "m.dhc", "--set", "hidden=%d" % name, "--data", "npy:data", "--limit", "7", "--weights", run, "--json"],
                                    check=True, capture_output=True, text=True).stdout)
    assert got["accuracy"] == v["accuracy"] and got["loss"] == v["loss"], (got, v)
    assert abs(v["accuracy_per_kilobyte"] * (v["code_bytes"] + v["weights_bytes"]) / 1024 - v["accuracy"]) < 1e-9, v
assert len(doc["variants"]) == 3, doc
P
run=$(cd whole && python3 -c 'import json; print("runs/%s-s0" % json.load(open("sweep.json"))["variants"][0]["hash"])')
mv whole/runs aside
expect 1 "whole/$run: variant 'size.tiny' has no weights there: its run is not finished" "$dhcc" sweep m.dhc --variants size --entry loss --build --data npy:data --out whole --sizes B=1 --quiet
mv aside whole/runs
expect 1 "whole: the sweep has no variant 'hidden=3'" "$dhcc" sweep m.dhc --set hidden=3,4 --entry loss --build --data npy:data --out whole --quiet
cat > check.py <<'P'
"""The rows of results.csv without time columns; sweep.json agrees with them, and its summary is what they give."""
import csv, json, math, os, sys
TIMES = ("peak_bytes", "seconds", "samples_s", "latency_ms")
def rows(folder):
    return [{k: v for k, v in r.items() if k not in TIMES} for r in csv.DictReader(open(folder + "/results.csv"))]
def tail(t, df):  # P(|T| > t) by Simpson's rule over an angle: T = sqrt(df) tan(a)
    a, n = math.atan(abs(t) / df ** 0.5), 20000
    f = lambda x: math.cos(x) ** (df - 1)
    simpson = lambda lo, hi: (hi - lo) / n / 3 * sum((1 if i in (0, n) else 4 if i % 2 else 2) * f(lo + (hi - lo) * i / n) for i in range(n + 1))
    return simpson(a, math.pi / 2) / simpson(0, math.pi / 2)
def check(folder):
    doc, all = json.load(open(folder + "/sweep.json")), rows(folder)
    assert [r["name"] for r in all] == [r["name"] for r in doc["runs"] if r["status"] != "left"]
    values = {}
    for r in all:
        run = json.load(open("%s/runs/%s-s%s/run.json" % (folder, r["hash"], r["seed"])))
        assert float(r["val_accuracy"]) == run["val_accuracy"] and r["status"] == run["status"]
        metrics = list(csv.DictReader(open("%s/runs/%s-s%s/metrics.csv" % (folder, r["hash"], r["seed"]))))
        assert float(r["loss"]) == float(metrics[-1]["loss"]) and r["steps"] == metrics[-1]["step"]
        values.setdefault(r["name"], []).append(float(r[doc["metric"]]))
    for s in doc["summary"]:
        v, n = values[s["name"]], len(values[s["name"]])
        mean = sum(v) / n
        sd = (sum((x - mean) ** 2 for x in v) / (n - 1)) ** 0.5
        assert s["n"] == n and abs(s["mean"] - mean) < 1e-12 and abs(s["sd"] - sd) < 1e-12, s
        assert abs((s["ci95_high"] - s["ci95_low"]) / 2 - 4.302652729911275 * sd / 3 ** 0.5) < 1e-9, s
        if s["name"] == doc["baseline"]:
            assert "p" not in s
            continue
        d = [a - b for a, b in zip(v, values[doc["baseline"]])]
        m = sum(d) / n
        error = (sum((x - m) ** 2 for x in d) / (n - 1) / n) ** 0.5
        assert abs(s["difference"] - m) < 1e-12, s
        if error > 0:
            assert abs(s["t"] - m / error) < 1e-9 and abs(s["p"] - tail(m / error, n - 1)) < 1e-9, s
    return doc, all
if __name__ == "__main__":
    doc, all = check(sys.argv[1])
    assert len(all) == 9 and doc["runs_done"] == doc["runs_all"] == 9 and doc["baseline"] == "size.small" and doc["metric"] == "val_accuracy"
    assert [v["name"] for v in doc["variants"]] == ["size.tiny", "size.small", "size.big"]
    assert [(m["name"], m["same_as"]) for m in doc["merged"]] == [("size.same", "size.small")]
    if len(sys.argv) > 2:
        for a, b in zip(all, rows(sys.argv[2])):
            assert a == b, [(k, a[k], b[k]) for k in a if a[k] != b[k]]
P
python3 check.py whole || fail "what it says of itself"
same() { python3 check.py "$1" whole || fail "$1 differs from the whole sweep: $2"; }
grep -q "size.small *$" whole.txt && grep -q "equal to size.small, not run again: size.same" whole.txt || fail "the table: $(cat whole.txt)"
# a seed's weights and order are those of the run alone
"$dhcc" train m.dhc --set hidden=16 --data npy:data --epochs 2 --seed 1 --threads 1 --quiet --out alone || fail "one run alone"
big=$(python3 -c 'import json; print([v["hash"] for v in json.load(open("whole/sweep.json"))["variants"]][2])')
cmp "whole/runs/$big-s1/last.safetensors" alone/last.safetensors || fail "a run of the sweep differs from the same run alone"

# ---- stopped anywhere, killed anywhere ----
for poll in 1 7 30 60 90; do
  rm -rf stopped
  DHC_STOP_AT_POLL=$poll sweep --out stopped > /dev/null 2> err
  [ $? = 130 ] || fail "stopped at poll $poll: $(cat err)"
  if [ $poll -gt 20 ]; then grep -q "runs are done; go on with --resume" err || fail "stopped at poll $poll: $(cat err)"; fi
  sweep --out stopped --resume > /dev/null || fail "going on after poll $poll"
  same stopped "stopped at poll $poll"
done
if [ -n "$killer" ]; then
  order=${ASAN_OPTIONS:-}:verify_asan_link_order=0 # the sanitizers want to be first otherwise
  ASAN_OPTIONS=$order LD_PRELOAD=$killer DHC_KILL_COUNT=$work/count sweep --out counted > /dev/null || fail "counting"
  calls=$(cat count)
  [ "${calls:-0}" -gt 100 ] || fail "only $calls calls change files"
  for i in $(seq 1 "${KILLS:-12}"); do
    at=$((calls * (2 * i - 1) / (2 * ${KILLS:-12}) + i % 5)) torn=
    [ $((i % 3)) = 0 ] && torn=1
    rm -rf killed
    ASAN_OPTIONS=$order LD_PRELOAD=$killer DHC_KILL_AT=$at ${torn:+DHC_KILL_TORN=1} sweep --out killed > /dev/null 2>&1 && continue # an even time is not reached: no kill
    sweep --out killed --resume > /dev/null 2> err || sweep --out killed > /dev/null 2> err || fail "going on after call $at: $(cat err)"
    same killed "killed at call $at"
  done
fi

# ---- shards ----
for i in 1 2 3; do sweep --out "shard$i" --shard $i/3 > /dev/null || fail "shard $i"; done
[ "$(wc -l < shard2/results.csv)" = 4 ] || fail "shard 2 has $(wc -l < shard2/results.csv) lines"
"$dhcc" sweep merge merged shard1 shard2 shard3 --quiet > /dev/null || fail "merge"
same merged "three shards"
for i in 1 2; do sweep --out "from$i" --shard $i/2 --seeds 0 --epochs 1 --tensorboard --init-from "$(echo whole/runs/*-s0 | cut -d' ' -f1)/last.safetensors" > /dev/null || fail "shard $i from weights"; done
"$dhcc" sweep merge from from1 from2 --quiet > /dev/null || fail "merge of runs from weights"
for f in init.json events.out.tfevents.dhcc; do
  [ "$(find from/runs -name $f | wc -l)" = 3 ] || fail "merging loses $f"
done
"$dhcc" sweep merge two shard3 shard1 --json > two.json || fail "merge of two"
python3 -c 'import json; d = json.load(open("two.json")); assert (d["runs_done"], d["runs_left"]) == (6, 3), d' || fail "merge of two"
expect 1 'merged: holds a sweep already' "$dhcc" sweep merge merged shard1
expect 1 'data: holds no sweep' "$dhcc" sweep merge three data
mkdir odd && echo '{}' > odd/sweep.json
expect 1 'odd: holds no sweep: sweep.json describes none' "$dhcc" sweep merge three odd
expect 1 'odd: holds no sweep: sweep.json describes none' sweep --out odd --resume
[ "$(cat odd/sweep.json)" = '{}' ] || fail "a sweep.json that is none is gone"
"$dhcc" sweep m.dhc --set hidden=2,3 --train --data npy:data --epochs 1 --quiet --out other > /dev/null || fail "another sweep"
expect 1 'other/sweep.json: its sweep has epochs 1, this one 2' "$dhcc" sweep merge three shard1 other

# ---- more seeds, more variants: only what is missing runs ----
before=$(cat whole/runs/*/run.json | sha256sum)
cp -r whole more
"$dhcc" sweep m.dhc --variants size --train --data npy:data --epochs 2 --seeds 0..3 --baseline size.small --threads 1 --quiet --out more --resume > /dev/null || fail "one more seed"
[ "$(wc -l < more/results.csv)" = 13 ] || fail "one more seed: $(cat more/results.csv)"
for f in whole/runs/*; do cmp -s "$f/run.json" "more/runs/${f##*/}/run.json" || fail "a finished run was done again: $f"; done
[ "$before" = "$(cat whole/runs/*/run.json | sha256sum)" ] || fail "files of another folder changed"

# ---- several processes; what it is going to take ----
sweep --out jobs --jobs 3 > /dev/null || fail "--jobs"
same jobs "three processes"
by=exec sweep --out jobs2 --jobs 2 --epochs 100000 > /dev/null 2>&1 &
pid=$!
for _ in $(seq 300); do ls jobs2/runs/*/metrics.csv > /dev/null 2>&1 && break; sleep 0.05; done
kill -INT $pid
wait $pid
[ $? = 130 ] || fail "an interrupt of several processes"
sleep 0.2
# a terminal sends its interrupt to all of them: one of them says so
rm -rf jobs3
python3 - "$dhcc" > group 2>&1 <<'P' || fail "an interrupt of the group: $(cat group)"
import glob, os, signal, subprocess, sys, time
args = "sweep m.dhc --variants size --train --data npy:data --seeds 0,1,2 --threads 1 --quiet --out jobs3 --jobs 2 --epochs 100000".split()
p = subprocess.Popen([sys.argv[1]] + args, stderr=subprocess.PIPE, text=True, start_new_session=True)
for _ in range(600):
    if len(glob.glob("jobs3/runs/*/metrics.csv")) == 2: break
    time.sleep(0.05)
os.killpg(p.pid, signal.SIGINT)
err = p.communicate(timeout=60)[1]
assert p.returncode == 130 and err == "dhcc: stopped; 0 of 9 runs are done; go on with --resume\n", (p.returncode, err)
P
expect 130 'go on with --resume' env DHC_STOP_AT_POLL=30 "$dhcc" sweep m.dhc --variants size --train --data npy:data --epochs 100000 --seeds 0,1,2 --baseline size.small --threads 1 --quiet --out jobs2 --resume
sweep --dry-run --json > dry.json || fail "--dry-run"
python3 - <<'P' || fail "--dry-run: $(cat dry.json)"
import json
d = json.load(open("dry.json"))
assert [(e["name"], e["runs"], e["steps"]) for e in d["estimates"]] == [("size.tiny", 3, 6), ("size.small", 3, 6), ("size.big", 3, 6)], d
assert d["runs"] == 9 and d["hours"] > 0 and d["disk_bytes"] > 0 and d["memory_bytes"] > 0
assert all(e["step_ms"] > 0 and e["seconds"] > 0 for e in d["estimates"])
P
sweep --out whole --resume --dry-run --json | grep -q '"runs":[[:space:]]*0' || fail "a dry run of what is done"
sweep --out budget --budget 10m > /dev/null || fail "--budget"
same budget "a budget for all of it"
expect 1 '--budget: the shortest run takes about' sweep --out small --epochs 1000000 --budget 1s
[ ! -e small ] || fail "a budget that is too small leaves a folder"
# what could not begin leaves nothing, but what was there
expect 1 'nowhere: no such file or directory' sweep --out small --init-from nowhere
[ ! -e small ] || fail "--init-from of no file leaves a folder"
mkdir small && echo mine > small/notes
python3 - <<'P'
import json, struct
head = json.dumps({"other": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
open("other.safetensors", "wb").write(struct.pack("<Q", len(head)) + head + bytes(4))
P
for jobs in "" "--jobs 2"; do
  # shellcheck disable=SC2086
  expect 1 'nothing in it fits' sweep --out small --init-from other.safetensors $jobs
  [ "$(ls small)" = notes ] || fail "weights that do not fit leave $(ls -R small) ($jobs)"
done
expect 2 '--budget: needs a time such as 90s, 30m, 8h or 2d' sweep --out small --budget 8

# ---- figure, table, page: the numbers of sweep.json, and nothing to fetch ----
for o in fig.svg table.tex page.html; do "$dhcc" plot whole -o $o || fail "plot -o $o"; done
"$dhcc" plot whole merged --x parameters -o two.svg || fail "plot of two"
python3 - <<'P' || fail "plot"
import json, re
import xml.etree.ElementTree as ET
doc = json.load(open("whole/sweep.json"))
svg = "{http://www.w3.org/2000/svg}"
titles = [t.text for t in ET.parse("fig.svg").getroot().iter(svg + "title")]
assert titles == ["%s: %.6g" % (s["name"], s["mean"]) for s in doc["summary"]], titles
assert len(list(ET.parse("two.svg").getroot().iter(svg + "title"))) == 6
tex, page = open("table.tex").read(), open("page.html").read()
rows = re.findall(r"<tr><td>(.*?)<td><code>(.*?)</code><td>(.*?)<td>(\d+)<td>(\d+)<td>([^<]*)<td>(.*?)<td>(.*?)<td>(.*?)</tr>", page)
assert len(rows) == 3 and not re.search(r"(src|href)=|url\(|@import|<script", page) and "prefers-color-scheme" in page
for row, s, v in zip(rows, doc["summary"], doc["variants"]):
    assert row[:2] == (s["name"], s["hash"]) and row[3:6] == (str(v["parameters"]), str(s["n"]), "%.6g" % s["mean"]), (row, s)
    assert row[6] == "%.6g &hellip; %.6g" % (s["ci95_low"], s["ci95_high"]), row
    assert ("%s & %s & %d & %d & %.4g" % (s["name"], v["mixers"], v["parameters"], s["n"], s["mean"])) in tex, tex
assert doc["command"].replace("&", "&amp;") in page
P
expect 1 '--x speed: no variant of whole has a number of that name' "$dhcc" plot whole --x speed -o fig.svg
mkdir -p many/one && touch many/one/metrics.csv
expect 1 'data: holds no sweep and no run' "$dhcc" plot data -o fig.svg
expect 1 'many: holds no sweep and no run; its folders do (dhcc plot many/*)' "$dhcc" plot many -o fig.svg
expect 1 'odd: holds no sweep: sweep.json describes none' "$dhcc" plot odd -o fig.svg
cp -r whole edited && sed -i 's/"hash":.*"[0-9a-f]*"/"hash": "no hash"/' edited/sweep.json
expect 1 'edited: holds no sweep: sweep.json describes none' "$dhcc" plot edited -o fig.svg
sed 's/"parameters":[^,]*/"parameters": "many"/' whole/sweep.json > edited/sweep.json
expect 1 'edited: holds no sweep: sweep.json describes none' "$dhcc" plot edited -o fig.svg
sed 's/"mean":[^,]*/"mean": 7e999/; s/"ci95_low":[^,]*/"ci95_low": 3/' whole/sweep.json > edited/sweep.json # the runs say what is so
"$dhcc" plot edited -o edited.svg && sed s/edited/whole/ edited.svg | cmp -s - fig.svg || fail "a summary that was edited is drawn"
expect 2 'plot: needs -o FILE that ends in .svg, .pdf, .png, .gp, .csv or .json, .tex or .html' "$dhcc" plot whole -o fig.gif
expect 3 'none/fig.svg: no such file' "$dhcc" plot whole -o none/fig.svg

# ---- what is wrong ----
expect 1 'whole: holds a sweep already: --resume goes on with it' sweep --out whole
cp whole/results.csv before.csv
expect 1 'whole/sweep.json: its sweep has seed 2 too; --resume may add' sweep --out whole --resume --seeds 0,1
expect 1 'whole/sweep.json: its sweep has variant size.tiny too' "$dhcc" sweep m.dhc --variants size.small --train --data npy:data --epochs 2 --seeds 0,1,2 --out whole --resume
cmp -s whole/results.csv before.csv || fail "a refused sweep has changed results.csv"
expect 1 'whole/sweep.json: its sweep has epochs 2, this one 3' sweep --out whole --resume --epochs 3
expect 2 "the sweep has no variant 'size.smal' (did you mean 'size.small'?)" sweep --out none --baseline size.smal
# what is solved for needs no name: it is not known yet
"$dhcc" sweep m.dhc --opt lr=1e-3,2e-3 --hold params=160 --solve hidden --train --data npy:data --epochs 1 --seeds 0,1 --baseline lr=2e-3 --threads 1 --quiet --out held > /dev/null || fail "a baseline without what is solved for"
python3 -c 'import json; d = json.load(open("held/sweep.json")); assert d["baseline"] == "lr=2e-3,hidden=2", d["baseline"]; assert ["p" in s for s in d["summary"]] == [True, False], d["summary"]' || fail "a baseline without what is solved for: $(cat held/sweep.json)"
expect 2 "the sweep has no variant 'hidden=2'" "$dhcc" sweep m.dhc --set hidden=2,4 --opt lr=1e-3,2e-3 --train --data npy:data --seeds 0,1 --baseline hidden=2 --out none
expect 2 '--seeds: needs up to 1000 whole numbers' sweep --out none --seeds 1,x
expect 2 '--seeds: has 1 twice' sweep --out none --seeds 1,2,1
expect 2 '--shard: needs I/N' sweep --out none --shard 4/3
expect 2 "--metric: no column 'speed' of results.csv" sweep --out none --metric speed
expect 2 '--train needs --data SPEC and --out DIR' "$dhcc" sweep m.dhc --variants size --train
for o in batch=4 lr=1e-3 metric=loss val-fraction=0 init-from=x tensorboard; do
  expect 2 "sweep: --${o%=*} needs --train" "$dhcc" sweep m.dhc --variants size "--$o"
done
expect 2 'sweep: --csv needs --cost-only' "$dhcc" sweep m.dhc --variants size --csv
expect 2 'sweep: --cost-only trains nothing: leave it or --train out' sweep --out none --cost-only
expect 1 'nowhere: holds no sweep' "$dhcc" sweep merge unmade whole nowhere
expect 1 'whole: holds a sweep (sweep.json); a run needs a folder of its own' "$dhcc" train m.dhc --data npy:data --out whole --overwrite
expect 1 'alone: holds a run (checkpoint-000000006.safetensors); a sweep needs a folder of its own' sweep --out alone
expect 1 'a sweep needs a folder of its own' "$dhcc" sweep merge alone whole
[ -e unmade ] && fail "a merge that is refused makes a folder"
expect 2 'sweep: --seeds needs --train' "$dhcc" sweep m.dhc --variants size --seeds 1
expect 1 'no such file or directory' "$dhcc" sweep m.dhc --variants size --train --out none --data npy:nowhere
[ ! -e none/results.csv ] || fail "a sweep that could not begin left results"
by=exec sweep --out busy --epochs 100000 > /dev/null 2>&1 &
pid=$!
for _ in $(seq 300); do [ -e busy/sweep.json ] && break; sleep 0.05; done
expect 3 'busy: another process writes there' sweep --out busy --resume --epochs 100000
kill -INT $pid
wait $pid
[ $? = 130 ] || fail "an interrupt in the middle of a run"

# no file may grow much beyond the model's text: what was measured stays, and goes on where there is room
(ulimit -f $(($(stat -c %s alone/model.dhcm) / 1024 + 4)); "$dhcc" sweep m.dhc --set hidden=4,2000 --train --data npy:data --epochs 2 --seeds 0,1 --threads 1 --quiet --out full) > /dev/null 2> err
[ $? = 3 ] || fail "no room: $(cat err)"
[ "$(wc -l < err)" = 1 ] && grep -q "file too large" err || fail "no room is one line: $(cat err)"
grep -q "^hidden=4,.*,0,done," full/results.csv || fail "what was measured is gone: $(cat full/results.csv)"
"$dhcc" sweep m.dhc --set hidden=4,2000 --train --data npy:data --epochs 2 --seeds 0,1 --threads 1 --quiet --out full --resume > /dev/null || fail "room again"
[ "$(wc -l < full/results.csv)" = 5 ] || fail "room again: $(cat full/results.csv)"

# numbers that are not finite end a run, not the sweep
sed -e 's/return cross_entropy(logits, target), logits/return cross_entropy(logits, target) * sqrt(scale), logits/; s/hidden: int = 8/hidden: int = 8, scale: float = 1.0/' m.dhc > bad.dhc
"$dhcc" sweep bad.dhc --set scale=1.0,-1.0 --train --data npy:data --epochs 1 --seeds 0,1 --threads 1 --quiet --out numeric > out 2> err || fail "numbers that are not finite: $(cat err)"
grep -q "^scale=-1.0,.*,1,numeric," numeric/results.csv && grep -q "^scale=1.0,.*,1,done," numeric/results.csv || fail "numeric: $(cat numeric/results.csv)"
[ "$(cut -d, -f17,18 numeric/results.csv | sort | uniq -c | grep -c ' 4 610,1263.1875')" = 1 ] || fail "costs of runs, however they end: $(cat numeric/results.csv)"
finish
