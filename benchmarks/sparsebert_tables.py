"""The tables of benchmarks/sparsebert.py: means of the seeds, with the standard deviation where there are several."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from typing import Any

Table = tuple[list[str], list[list[str]]]
Runs = dict[str, list[dict[str, Any]]]
KINDS = ("diagonal", "neighbours", "special tokens", "rest")
TASKS = {"sst2": "SST-2", "mrpc": "MRPC", "cola": "CoLA", "rte": "RTE", "stsb": "STS-B", "imdb": "IMDB"}


def by_name(found: dict[str, Any], part: str) -> Runs:
    """The runs of a part by what is theirs beside the seed, in the order of the file."""
    made: Runs = {}
    for key, run in found.items():
        name, _, _ = key.rpartition(" seed ")
        if key.startswith(f"{part} "):
            made.setdefault(name.removeprefix(f"{part} "), []).append(run)
    return made


def spread(values: Iterable[float], digits: int, sign: str = "") -> str:
    """The mean, and the standard deviation where there are several."""
    values = list(values)
    mean = f"{statistics.mean(values):{sign}.{digits}f}"
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


def patterns(found: dict[str, Any]) -> Table:
    """Patterns that are written down, at their sparsity."""
    return _scored(by_name(found, "patterns"), "pattern")


def claims(found: dict[str, Any]) -> Table:
    """What the paper claims, how it was tried, and what came out: means over seeds that both sides have."""
    rows = []
    for name, runs in by_name(found, "study").items():
        maps = [one for run in runs for one in run["importance"]["maps"]]
        means = {kind: _mean_of(maps, kind) for kind in KINDS}
        least = min((kind for kind in KINDS[1:]), key=means.__getitem__)
        ours = f"diagonal {means[KINDS[0]]:.3f}, least of the others {means[least]:.3f} ({least})"
        rows.append(["A token's attention to itself counts least.", name, "importance of all positions", ours])
    origins = dict.fromkeys(name.partition(" ")[0] for name in (*by_name(found, "removed"), *by_name(found, "dam")))
    for origin in origins:
        for claim, tried, part, pairs in _pairs(found, origin):
            ours = "; ".join(said for one, other in pairs if (said := _apart(found, part, one, other)))
            if ours:
                rows.append([claim, origin, tried, ours])
    return ["published claim", "encoder", "tried", "ours"], rows


def _mean_of(maps: list[dict[str, Any]], kind: str) -> float:
    return statistics.mean(group["mean"] for one in maps for group in one["groups"] if group["name"] == kind)


def _pairs(found: dict[str, Any], origin: str) -> list[tuple[str, str, str, list[tuple[str, str]]]]:
    """Claims, how each is tried, the part, and the runs that are compared."""
    full, without, drawn = (f"{origin} {name}" for name in ("full", "no-diagonal", "random"))
    learned = [name for name in by_name(found, "dam") if name.startswith(f"{origin} structured ")]
    masks = [name for name in learned if len(name.split()) == 3]
    beside = [(name, name.replace(" structured ", " random ")) for name in masks]
    dense = [(name, f"{origin} dense") for name in masks]
    return [
        ("Without the diagonal nothing is lost.", "no-diagonal against full", "removed", [(without, full)]),
        ("Other positions are needed more.", "random against no-diagonal", "removed", [(drawn, without)]),
        ("A learned mask is better than others.", "structured against random distances", "dam", beside),
        ("Much of attention can be masked.", "structured against dense", "dam", dense),
    ]


def _apart(found: dict[str, Any], part: str, one: str, other: str) -> str:
    """By how much one run is above the other in held-out loss, and in the points of each task; empty: not measured."""
    losses = _differences(found, f"{part} {one}", f"{part} {other}")
    if not losses:
        return ""
    said = [f"loss {spread(losses, 3, '+')}"]
    for task, title in TASKS.items():
        if points := _differences(found, f"{part} {one} {task}", f"{part} {other} {task}", points=True):
            said.append(f"{title} {spread(points, 1, '+')}")
    mask = one.split()[2:]
    return ", ".join([*(f"λ {own}" for own in mask), *said])


def _differences(found: dict[str, Any], one: str, other: str, points: bool = False) -> list[float]:
    """Of the losses, or of the scores in points, for each seed that both have."""

    def value(run: dict[str, Any]) -> float:
        return 100 * run["scores"][run["metric"]] if points else run["scores"]["loss"]

    seeds = [key.removeprefix(f"{one} seed ") for key in found if key.startswith(f"{one} seed ")]
    both = [(found[f"{one} seed {seed}"], found.get(f"{other} seed {seed}")) for seed in seeds]
    return [value(mine) - value(theirs) for mine, theirs in both if theirs]


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
