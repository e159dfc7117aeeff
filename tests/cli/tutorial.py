"""tutorial.py DHCC TUTORIAL: follows a document word for word in an empty folder.

Blocks after "save this as `NAME`" become that file. In other blocks lines that begin with "$ " are commands, and what follows is what
they print, stdout and stderr together: "…" stands for any text in a line, and by itself for any number of lines.
"""
import os
import pathlib
import re
import subprocess
import sys


def matches(want, got):
    if not want:
        return not got
    if want[0] == "…":
        return any(matches(want[1:], got[i:]) for i in range(len(got) + 1))
    pattern = ".*".join(re.escape(piece) for piece in want[0].split("…"))
    return bool(got) and re.fullmatch(pattern, got[0]) is not None and matches(want[1:], got[1:])


def main():
    dhcc, text = sys.argv[1], pathlib.Path(sys.argv[2]).read_text(encoding="utf-8")
    os.environ["PATH"] = str(pathlib.Path(dhcc).resolve().parent) + os.pathsep + os.environ["PATH"]
    os.environ.update(LC_ALL="C.UTF-8", NO_COLOR="1")
    commands = files = bad = 0
    for said, block in re.findall(r"([^`]*(?:`[^`\n]+`[^`]*)*)^```\w*\n(.*?)^```$", text, re.M | re.S):
        name = re.search(r"[Ss]ave this as `([^`]+)`[^`]*$", said)
        if name:
            pathlib.Path(name[1]).write_text(block, encoding="utf-8")
            files += 1
            continue
        for command, want in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block, re.M):
            commands += 1
            run = subprocess.run(command, shell=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            got = run.stdout.rstrip("\n").split("\n") if run.stdout else []
            lines = want.rstrip("\n").split("\n") if want.strip() else []
            if not matches(lines, got):
                bad += 1
                print(f"FAILED: $ {command}\n--- the document says\n{want}--- it printed (status {run.returncode})\n{run.stdout}")
    print(f"{commands} commands, {files} files")
    sys.exit(bad > 0 or commands == 0)


main()
