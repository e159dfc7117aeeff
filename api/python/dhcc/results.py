"""Tables that dhcc writes: sweeps' results, runs' metrics."""
import csv
import json
import os
import pathlib

from . import _dhcc


class Table(list):
    """Rows, each a dict."""

    def frame(self):
        """The same as a pandas DataFrame."""
        import pandas  # only here: nothing else needs it

        return pandas.DataFrame(list(self))


def _value(text):
    if text == "":
        return None
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text


def _rows(path):
    with open(path, newline="") as f:
        return Table({k: _value(v) for k, v in row.items()} for row in csv.DictReader(f))


def metrics(run):
    """A run's metrics, a row a step: step, loss, lr, … as in its metrics.csv."""
    return _rows(pathlib.Path(run) / "metrics.csv")


def sweep_results(folder, metric=None):
    """A sweep's runs, one row each: what differs, and the numbers of results.csv. `summary` holds how variants compare in `metric`."""
    about = json.loads(_dhcc.sweep_json(os.fspath(folder), metric))
    table = Table()
    for run in about.get("runs", []):
        row = {k: _value(v) for k, _, v in (part.partition("=") for part in run.get("name", "").split(",")) if v}  # what differs
        for k, v in run.items():
            row.update(v if isinstance(v, dict) else {k: v})
        table.append(row)
    table.summary = about.get("summary")
    return table
