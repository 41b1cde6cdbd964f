"""The GLUE runs as tables: how the layers that lose their attention are chosen, at an equal number of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from scipy import stats

Table = tuple[list[str], list[list[str]]]
LEARNED = "layerwise"
TRAINED_ON = {"trained-on": "dense, trained on", "dense": "dense, trained on less"}
"""By the name of the run; the second has the epochs of the repair alone, and no distillation."""
OTHERS = (*TRAINED_ON.values(), "greedy", "last", "random")
CONTROLS = ("untrained", "random-finalists", "reversed", "last", "fitted", "dense, trained on")
"""Ways that stand beside the layerwise variant in the runs of ``--part controls``."""
COUNTS = ("2", "3", "4")

Pair = tuple[str, str, str]


def runs(contents: dict[str, Any], speed: Callable[[Any], str]) -> Table:
    """A row for each task and kind of run: means and standard deviations over its seeds. speed: of a run, or empty."""
    rows = []
    for task, found in contents.items():
        groups: dict[str, list[Any]] = {}
        for key, run in sorted(found.items(), key=lambda entry: int(entry[0].rpartition(" ")[-1])):
            groups.setdefault(key.partition(" seed ")[0], []).append(run)
        metric = next(iter(found.values()))["metric"]
        # Where a later run has fine-tuned another dense model with this seed, the row keeps the first one.
        dense = {key.rpartition(" ")[-1]: run["dense_scores"][metric] for key, run in reversed(found.items())}
        rows.append([task, "dense", str(len(dense)), "none", f"{metric} {_spread(dense.values())}", "", "1.00", ""])
        for name in sorted(
            groups, key=lambda name: (name not in TRAINED_ON, name[-1] if name[-1].isdigit() else "", name)
        ):
            same = groups[name]
            removed = Counter(layer for run in same for layer in run["removed_layers"])
            layers = [f"{layer} ({n})" if n < len(same) else str(layer) for layer, n in sorted(removed.items())]
            flops = [run["flops_per_example"][1] / run["flops_per_example"][0] for run in same]
            speeds = [float(shown) for shown in map(speed, same) if shown]
            rows.append([
                task, TRAINED_ON.get(name, name), str(len(same)),
                ", ".join(layers) or "none",
                f"{metric} {_spread(run['scores'][metric] for run in same)}", _change(same), f"{np.mean(flops):.2f}",
                f"{np.mean(speeds):.2f}" if speeds else "",
            ])  # fmt: skip
    return ["task", "run", "seeds", "removed", "validation score, fp32", "change, fp32", "FLOPs", "speed, int8"], rows


def _change(same: list[Any]) -> str:
    """In points against the dense model; of one run with the 95 % interval over its rows."""
    tests = [run["comparison"] for run in same]
    if len(tests) > 1:
        return _spread((test["difference"] for test in tests), "+")
    (test,) = tests
    return f"{100 * test['difference']:+.1f} ({100 * test['low']:+.1f} to {100 * test['high']:+.1f})"


def _spread(values: Iterable[float], sign: str = "") -> str:
    """Mean and standard deviation in points."""
    points = 100 * np.array(list(values))
    return f"{points.mean():{sign}.1f}" + (f" ± {points.std(ddof=1):.1f}" if len(points) > 1 else "")


def changes(contents: dict[str, Any]) -> dict[str, dict[Pair, float]]:
    """For each way to choose, by layers removed, task and seed, the points above the dense model."""
    found: dict[str, dict[Pair, float]] = {}
    for task, runs in contents.items():
        for key, run in runs.items():
            name, _, seed = key.partition(" seed ")
            way, _, count = name.rpartition("-")
            change = 100 * (run["scores"][run["metric"]] - run["dense_scores"][run["metric"]])
            if name in TRAINED_ON:  # beside each of the others, whatever they remove
                found.setdefault(TRAINED_ON[name], {}).update({(number, task, seed): change for number in COUNTS})
            elif count.isdigit():
                found.setdefault(way, {})[count, task, seed] = change
    return found


def choices(contents: dict[str, Any], ways: Iterable[str] = OTHERS) -> Table:
    """Learned layers against others, paired over tasks and seeds; the interval and p are those of a paired t-test."""
    found = changes(contents)
    rows = []
    for way in ways:
        shared = sorted(found.get(LEARNED, {}).keys() & found.get(way, {}).keys())
        counts = sorted({pair[0] for pair in shared})
        groups = {count: [pair for pair in shared if pair[0] == count] for count in counts}
        groups |= {", ".join(counts): shared} if len(counts) > 1 else {}
        rows += [
            _row(way, count, pairs, found[LEARNED], found[way]) for count, pairs in groups.items() if len(pairs) > 1
        ]
    header = ["against", "layers removed", "tasks", "pairs", f"{LEARNED}, change", "the other's", "difference (95 %)"]
    return [*header, "p", "won, lost"], rows


def path(contents: dict[str, Any], shown: int = 5) -> Table:
    """Of each run of faithful.py, on the way: how far G's weights are from their start, and what it keeps."""
    rows = []
    for key, run in contents.items():
        taken = np.linspace(0, len(run["path"]) - 1, shown).round().astype(int)
        for point in (run["path"][place] for place in taken):
            kept = " ".join(f"{share:.3f}" for share in point["keep_probability"])
            reward, change = f"{point['reward']:+.3f}", f"{100 * point['generator_change']:.1f} %"
            rows.append([key, str(point["update"]), change, reward, kept])
    return ["run", "update of G", "change of its weights", "mean reward since", "keep probability, by layer"], rows


def timed_runs(contents: dict[str, Any], timed: dict[str, Any]) -> dict[str, dict[str, list[float]]]:
    """By run and task: change in points, share of the operations, speed over eager and over the dense int8 file."""
    names: dict[str, dict[str, list[float]]] = {}
    for key, found in timed.items():
        task, _, seed = key.partition(" seed ")
        rate = {(one["name"], one["backend"]): one["sequences_per_s"] for one in found["timings"]}
        eager = rate.pop(("dense", "eager"))
        for (name, backend), speed in rate.items():
            change, share = 0.0, 1.0  # of the dense model as it was
            if name != "dense":
                run = contents[task][f"{name} seed {seed}"]
                change = 100 * (run["scores"][run["metric"]] - run["dense_scores"][run["metric"]])
                share = run["flops_per_example"][1] / run["flops_per_example"][0]
            values = [change, share, speed / eager, speed / rate["dense", backend]]
            names.setdefault(name, {})[task] = values
    return names


def speeds(contents: dict[str, Any], timed: dict[str, Any], autopilot: list[list[str]]) -> Table:
    """Score against speed: means over the tasks of the runs that were timed, of factors geometric ones.

    autopilot: rows of its table, the means last.
    """
    names = {name: list(by_task.values()) for name, by_task in timed_runs(contents, timed).items()}
    rows = []
    for name, values in sorted(names.items(), key=lambda entry: stats.gmean([one[2] for one in entry[1]])):
        change, flops = np.mean(values, axis=0)[:2]
        over_eager, over_dense = stats.gmean([one[2:] for one in values])
        shown = [f"{flops:.2f}", f"{over_eager:.2f}x", f"{over_dense:.2f}x"]
        rows.append([name, str(len(values)), f"{change:+.1f}", *shown])
    drop, over_eager, over_dense, _ = autopilot[-1][-4:]
    rows.append(["autopilot", str(len(autopilot) - 1), f"{-float(drop):+.1f}", "", over_eager, over_dense])
    header = [
        "run",
        "models",
        "change, fp32 (autopilot: file)",
        "FLOPs",
        "int8 against eager",
        "against dense, int8",
    ]
    return header, rows


def _row(way: str, count: str, pairs: list[Pair], learned: dict[Pair, float], others: dict[Pair, float]) -> list[str]:
    own, other = (np.array([given[pair] for pair in pairs]) for given in (learned, others))
    test = stats.ttest_rel(own, other)
    low, high = test.confidence_interval()
    return [
        way, count, ", ".join(dict.fromkeys(task for _, task, _ in pairs)), str(len(pairs)), f"{own.mean():+.2f}",
        f"{other.mean():+.2f}", f"{(own - other).mean():+.2f} ({low:+.2f} to {high:+.2f})", f"{test.pvalue:.2f}",
        f"{(own > other).sum()}, {(own < other).sum()}",
    ]  # fmt: skip
