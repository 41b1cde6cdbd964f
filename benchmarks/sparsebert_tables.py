"""The tables of benchmarks/sparsebert.py: means of the seeds, with the standard deviation where there are several."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from typing import Any

Table = tuple[list[str], list[list[str]]]
Runs = dict[str, list[dict[str, Any]]]
KINDS = ("diagonal", "neighbours", "special tokens", "rest")
TASKS = {"sst2": "SST-2", "mrpc": "MRPC", "cola": "CoLA"}


def by_name(found: dict[str, Any], part: str) -> Runs:
    """The runs of a part by what is theirs beside the seed, in the order of the file."""
    made: Runs = {}
    for key, run in found.items():
        name, _, _ = key.rpartition(" seed ")
        if key.startswith(f"{part} "):
            made.setdefault(name.removeprefix(f"{part} "), []).append(run)
    return made


def spread(values: Iterable[float], digits: int) -> str:
    """The mean, and the standard deviation where there are several."""
    values = list(values)
    mean = f"{statistics.mean(values):.{digits}f}"
    return f"{mean} ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else mean


def importance(found: dict[str, Any]) -> Table:
    """The mean importance of each kind of positions, by where the encoder came from."""
    rows = []
    for name, runs in by_name(found, "study").items():
        maps = [one for run in runs for one in run["importance"]["maps"]]
        means = [[group["mean"] for one in maps for group in one["groups"] if group["name"] == kind] for kind in KINDS]
        rows.append([name, str(len(runs)), *(spread(own, 3) for own in means)])
    return ["encoder", "seeds", *KINDS], rows


def removed(found: dict[str, Any]) -> Table:
    """What is lost without the diagonal, and without as many random positions."""
    return _scored(by_name(found, "removed"), "positions")


def dam(found: dict[str, Any]) -> Table:
    """Learned masks by λ, and their controls."""
    return _scored(by_name(found, "dam"), "mask")


def _scored(made: Runs, what: str) -> Table:
    """A row for each origin and run: the positions left out, the held-out loss, and the score of each task."""
    tasks = [task for task in TASKS if any(name.endswith(f" {task}") for name in made)]
    rows = []
    for name, runs in made.items():
        if name.endswith(tuple(f" {task}" for task in TASKS)):
            continue
        origin, _, run = name.partition(" ")
        scores = [
            spread((100 * one["scores"][one["metric"]] for one in made.get(f"{name} {task}", [])), 1)
            if made.get(f"{name} {task}")
            else "not measured yet"
            for task in tasks
        ]
        share = spread((100 * one["sparsity"] for one in runs), 1)
        loss = spread((one["scores"]["loss"] for one in runs), 3)
        rows.append([f"{origin}, {run}", str(len(runs)), f"{share} %", loss, *scores])
    return [f"encoder, {what}", "seeds", "left out", "held-out loss", *(TASKS[task] for task in tasks)], rows
