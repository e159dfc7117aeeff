#!/usr/bin/env python3
"""Runs golden files: every file of the folders named that holds RUN lines.

    run.py [--tool NAME=PATH]... [--jobs N] FOLDER|FILE...

A RUN line is a pipeline of tools, `dhc-opt --pass=cse %s | FileCheck %s`; %s is the file,
%S its folder. `not` in front of a command wants exit status 1 of it, otherwise every command
has to end with 0. `2>&1` joins the two outputs. No shell is involved. Paths in messages are
relative to the folder of this script. Exit status 1 if a file fails; the names of those that
do and what their tools said are printed."""
import argparse
import concurrent.futures
import os
import pathlib
import re
import shlex
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent
RUN = re.compile(r"^\s*(?://|#) RUN: (.*)$", re.M)
SECONDS = 60


def run_lines(path):
    # as bytes: some files are there for not being UTF-8
    return RUN.findall(path.read_bytes().decode("utf-8", "replace"))


def command(words, path, tools):
    negated = words[0] == "not"
    joined = "2>&1" in words
    words = [w for w in words[negated:] if w != "2>&1"]
    words = [w.replace("%s", str(path)).replace("%S", str(path.parent)) for w in words]
    if words[0] not in tools:
        raise ValueError(f"no tool '{words[0]}'")
    return negated, joined, [tools[words[0]]] + words[1:]


def run_line(line, path, tools):
    """None, or what went wrong."""
    text = b""
    for part in line.split(" | "):
        negated, joined, argv = command(shlex.split(part), path, tools)
        done = subprocess.run(argv, input=text, cwd=ROOT, timeout=SECONDS, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT if joined else subprocess.PIPE)
        if done.returncode != int(negated):
            said = (done.stderr or done.stdout).decode("utf-8", "replace")
            return f"exit status {done.returncode}, wanted {int(negated)}: {part}\n{said}"
        text = done.stdout
    return None


def run_file(path, tools):
    wrong = []
    for line in run_lines(ROOT / path):
        try:
            said = run_line(line, path, tools)
        except (ValueError, subprocess.TimeoutExpired) as error:
            said = str(error)
        if said:
            wrong.append(said)
    return wrong


def golden_files(places):
    for place in places:
        at = ROOT / place
        for path in sorted(at.rglob("*")) if at.is_dir() else [at]:
            if path.suffix in (".gir", ".dhc", ".spec") and run_lines(path):
                yield path.relative_to(ROOT)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tool", action="append", default=[], metavar="NAME=PATH")
    parser.add_argument("--jobs", type=int, default=min(4, os.cpu_count() or 1))
    parser.add_argument("places", nargs="+")
    args = parser.parse_args()
    tools = {name: os.path.abspath(path) for name, path in (t.split("=", 1) for t in args.tool)}
    files = list(golden_files(args.places))
    failed = []
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        for path, wrong in zip(files, pool.map(lambda f: run_file(f, tools), files)):
            if wrong:
                failed.append(path)
                print(f"==== {path}", *wrong, sep="\n")
    for path in failed:
        print(f"FAILED tests/golden/{path}")
    print(f"golden: {len(files)} files, {len(failed)} failed")
    return 1 if failed or not files else 0


if __name__ == "__main__":
    sys.exit(main())
