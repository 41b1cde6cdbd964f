"""The autopilot's searches as a table: what was chosen, what it loses, and how fast it is beside other choices."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from typing import Any

Table = tuple[list[str], list[list[str]]]
BUDGET = 0.5
"""Points that a search may lose."""


def searches(content: dict[str, Any]) -> Table:
    """A row for each task and seed, and the means over tasks, each of which is the mean of its searches.

    Factors have geometric means.
    """
    rows: list[list[str]] = []
    factors: dict[str, list[list[float]]] = {}
    drops: dict[str, list[float]] = {}
    for task, seed, found, drop, speeds in searched(content):
        test, chosen = found["comparison"], found["chosen"]
        removed = {point["name"]: point["removed"] for point in found["points"]}.get(chosen["name"], "nothing")
        drops.setdefault(task, []).append(drop)
        if speeds:
            factors.setdefault(task, []).append(speeds)
        rows.append(
            [
                task, seed, removed, chosen["backend"], f"{chosen['drop']:+.2f}",
                f"{drop:+.2f} ({-100 * test['high']:+.1f} to {-100 * test['low']:+.1f})",
                *([f"{one:.2f}x" for one in speeds] if speeds else [""] * 3),
            ]
        )  # fmt: skip
    if factors:
        means = [f"{factor:.2f}x" for factor in overall(factors)]
        drop = statistics.mean(statistics.mean(given) for given in drops.values())
        rows.append(["mean of the tasks", "", "", "", "", f"{drop:+.2f}", *means])
    header = [
        "task", "seed", "removed", "file", "drop where it was chosen", "drop on validation (95 %)", "against eager",
        "against our dense file", "against the best stock int8 file",
    ]  # fmt: skip
    return header, rows


def overall(factors: dict[str, list[list[float]]]) -> list[float]:
    """Over eager, our dense file and the best stock int8 file: geometric means over tasks of those over searches."""
    by_task = [map(statistics.geometric_mean, zip(*given, strict=True)) for given in factors.values()]
    return [*map(statistics.geometric_mean, zip(*by_task, strict=True))]


def short(content: dict[str, Any]) -> Table:
    """The README's rows: by task the searches that are inside on rows that chose nothing, the drop, and the speed."""
    drops: dict[str, list[float]] = {}
    factors: dict[str, list[list[float]]] = {}
    for task, _, _, drop, speeds in searched(content):
        drops.setdefault(task, []).append(drop)
        if speeds:
            factors.setdefault(task, []).append(speeds)
    speed = {task: [*map(statistics.geometric_mean, zip(*given, strict=True))] for task, given in factors.items()}
    mean = {task: statistics.mean(given) for task, given in drops.items()}
    rows = [
        [task, _inside(given), f"{mean[task]:+.2f}", *(f"{speed[task][column]:.1f}x" for column in (0, 2))]
        for task, given in drops.items()
    ]
    every = [drop for given in drops.values() for drop in given]
    every_speed = overall(factors)
    over = [f"{every_speed[column]:.1f}x" for column in (0, 2)]
    rows.append(["all", _inside(every), f"{statistics.mean(mean.values()):+.2f}", *over])
    return ["task", "inside", "drop", "against eager PyTorch", "against the best stock int8 file"], rows


def sure(before: dict[str, Any], after: dict[str, Any]) -> Table:
    """By task the searches that are inside on rows that chose nothing, without a confirmation and with ``--sure``.

    The speed is over the dense model's fastest file of the search that is inside, as that search timed both.
    """
    rows = []
    searches = list(searched(after))
    tasks = list(dict.fromkeys(task for task, *_ in searches))
    for task in [*tasks, "all"] if tasks else []:
        given = [one for one in searches if task in ("all", one[0])]
        known = [drop for name, _, _, drop, _ in searched(before) if task in ("all", name) and name in tasks]
        drops = [drop for _, _, _, drop, _ in given]
        smaller = sum(search["chosen"]["name"] != "dense" for _, _, search, _, _ in given)
        speed = statistics.geometric_mean(_over_dense(search) for _, _, search, _, _ in given)
        rows.append(
            [
                task, _inside(known), f"{statistics.mean(known):+.2f}" if known else "", _inside(drops),
                f"{statistics.mean(drops):+.2f}", f"{smaller} of {len(given)}", f"{speed:.2f}x",
            ]
        )  # fmt: skip
    header = ["task", "inside, without", "drop", "inside, `--sure`", "drop", "smaller than dense", "against dense"]
    return header, rows


def _over_dense(search: dict[str, Any]) -> float:
    times: list[float] = [one["ms"] for one in search["files"] if one["name"] == "dense" and one["inside"]]
    chosen: float = search["chosen"]["ms"]
    return min(times, default=chosen) / chosen


def searched(content: dict[str, Any]) -> Iterator[tuple[str, str, Any, float, list[float] | None]]:
    """Task, seed, what was found, drop on validation in points, and speeds where it was timed, of each search."""
    for key, found in sorted(content.items()):
        kind, _, which = key.partition(" ")
        if kind == "search":
            task, _, seed = which.partition(" seed ")
            drop = -100 * found["comparison"]["difference"]
            yield task, seed, found, drop, _speeds(content.get(f"times {which}"))


def _inside(drops: list[float]) -> str:
    return f"{sum(drop <= BUDGET for drop in drops)} of {len(drops)}"


def budgets(content: dict[str, Any]) -> Table:
    """What came of little time, and of none for training."""
    rows = []
    for key, found in content.items():
        task, *setting, _, _ = key.split(" ")
        chosen, test = found["chosen"], found["comparison"]
        trained = [point for point in found["points"] if point["epochs"]]
        dense = [one["ms"] for one in found["files"] if one["name"] == "dense" and one["backend"] == "onnx-int8"]
        unseen = 100 * test["difference"]
        ends = f"{100 * test['low']:+.1f} to {100 * test['high']:+.1f}"
        rows.append([
            task, "without training" if setting == ["fitted"] else " ".join(setting),
            f"{found['seconds'] / 60:.1f} min", str(len(found["looked"])), str(len(trained)),
            f"{chosen['name']}, {chosen['backend']}", f"{chosen['speedup']:.1f}x",
            f"{dense[0] / chosen['ms']:.2f}x" if dense else "",
            f"{0.0 + round(-chosen['drop'], 1):+.1f}".replace("-", "−"), f"{unseen:+.1f} ({ends})".replace("-", "−"),
        ])  # fmt: skip
    header = [
        "task", "budget", "taken", "looked at", "trained", "chosen", "against eager", "against dense int8",
        "selection, points", "unseen rows, points",
    ]  # fmt: skip
    return header, rows


def _speeds(times: dict[str, Any] | None) -> list[float] | None:
    """Of the chosen file over eager, our best dense file, and the fastest stock int8 file."""
    if times is None:
        return None
    rate = {(t["name"], t["backend"]): t["sequences_per_s"] for t in times["timings"] if t["sequences_per_s"]}
    (chosen,) = (value for (name, _), value in rate.items() if name == "chosen")
    ours = max(v for (name, how), v in rate.items() if name == "dense" and how != "eager" and "stock" not in how)
    stock = max(value for (_, how), value in rate.items() if "stock" in how)
    return [chosen / rate["dense", "eager"], chosen / ours, chosen / stock]
