"""The table of benchmarks/nas_report.py: a published search of dimensions beside its controls."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sparsebert_tables import spread

Table = tuple[list[str], list[list[str]]]
TITLES = {"tinybert": "TinyBERT's last steps, nothing cut", "trained-on": "all steps, nothing cut"}
TOLERANCE = 0.05
PUBLISHED: dict[str, dict[str, tuple[float | None, float]]] = {
    "cola": {
        "tinybert": (None, 42.6), "search no-cost": (0.406, 23.6), "search 0.5": (0.654, 26.7),
        "search 0.75": (0.828, 28.9), "search 1.0": (0.974, 35.5),
    },
    "rte": {
        "tinybert": (None, 66.7), "search no-cost": (0.456, 62.1), "search 0.5": (0.663, 64.6),
        "search 0.75": (0.825, 64.6), "search 1.0": (0.975, 65.3),
    },
    "sst2": {
        "tinybert": (None, 91.7), "search no-cost": (0.455, 89.4), "search 0.5": (0.662, 90.5),
        "search 0.75": (0.852, 90.6), "search 1.0": (0.974, 90.9),
    },
}  # fmt: skip
"""Share of the dimensions that stays, and score, by task and run: section 5.6.1 of the report, and its TinyBERT."""


def runs(found: dict[str, Any]) -> Table:
    """A row for each task and run: means of the seeds, and differences of runs of the same seed."""
    rows = []
    for task in dict.fromkeys(key.split()[0] for key in found if " seed " in key):
        made = {name: own for name, own in by_name(found, task).items() if name != "dense"}
        for name in sorted(made, key=lambda name: (name not in TITLES, name.partition(" ")[2], name.startswith("r"))):
            own, metric = made[name], next(iter(made[name].values()))["metric"]
            known = PUBLISHED[task].get(name)
            rows.append([
                task, TITLES.get(name, name), stays(own.values()), f"{metric} {spread(scores(own), 1)}",
                difference(own, made.get("tinybert", {})),
                difference(own, made.get(name.replace("search", "random"), {})) if name.startswith("s") else "",
                searching(own.values()), str(len(own)), published(known, PUBLISHED[task]["tinybert"][1]),
            ])  # fmt: skip
    header = ["task", "run", "stays", "validation score", "against nothing cut", "against random ones"]
    return [*header, "search, times the training", "seeds", "published: stays, score, against nothing cut"], rows


def by_name(found: dict[str, Any], task: str) -> dict[str, dict[str, Any]]:
    """The runs of a task by name and seed."""
    made: dict[str, dict[str, Any]] = {}
    for key, run in found.items():
        name, _, seed = key.removeprefix(f"{task} ").rpartition(" seed ")
        if key.startswith(f"{task} "):
            made.setdefault(name, {})[seed] = run
    return made


def scores(own: dict[str, Any]) -> list[float]:
    return [100 * run["scores"][run["metric"]] for run in own.values()]


def difference(own: dict[str, Any], other: dict[str, Any]) -> str:
    """In points, of the seeds that both have; empty where there is none, and for a run against itself."""
    both = [seed for seed in own if seed in other]
    if not both or own is other:
        return ""
    pairs = zip(*(scores({seed: one[seed] for seed in both}) for one in (own, other)), strict=True)
    return spread([mine - theirs for mine, theirs in pairs], 1, "+")


def stays(own: Collection[dict[str, Any]]) -> str:
    """The share of the dimensions that is left, the target, and whether it was met in all runs."""
    shares = [total(run["stay"]) / total(run["whole"]) for run in own if run["stay"]]
    if not shares:
        return ""
    mean = spread(shares, 3)
    searched = [stage["method"] for stage in next(iter(own))["recipe"]["stages"] if "target" in stage["method"]]
    if not searched or not searched[-1]["cost_weight"]:
        return mean
    target = searched[-1]["target"]
    met = all(abs(share - target) <= TOLERANCE * target for share in shares)
    return f"{mean} of {target:g}, {'met' if met else 'missed'}"


def total(sizes: dict[str, list[int]]) -> int:
    return sum(map(sum, sizes.values()))


def searching(own: Collection[dict[str, Any]]) -> str:
    """The time of the searching steps over that of the two last ones."""
    factors = []
    for run in own:
        seconds = {step["name"]: step["seconds"] for step in run["steps"]}
        search, training = (
            [seconds.get(f"{kind}{name}", 0.0) for name in ("intermediate", "prediction")] for kind in ("search-", "")
        )
        if any(search) and run["stay"]:
            factors.append(sum(search) / sum(training))
    return spread(factors, 1) if factors else ""


def published(known: tuple[float | None, float] | None, uncut: float) -> str:
    if known is None:
        return ""
    share, score = known
    return f"{score:.1f}" if share is None else f"{share:.3f}, {score:.1f}, {score - uncut:+.1f}"
