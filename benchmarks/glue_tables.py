"""The GLUE runs as tables: how the layers that lose their attention are chosen, at an equal number of them."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import stats

Table = tuple[list[str], list[list[str]]]
LEARNED = "layerwise"
OTHERS = ("greedy", "last", "random")


Pair = tuple[str, str, str]


def changes(contents: dict[str, Any]) -> dict[str, dict[Pair, float]]:
    """For each way to choose, by layers removed, task and seed, the points above the dense model."""
    found: dict[str, dict[Pair, float]] = {}
    for task, runs in contents.items():
        for key, run in runs.items():
            name, _, seed = key.partition(" seed ")
            way, _, count = name.rpartition("-")
            if count.isdigit():
                metric = run["metric"]
                change = 100 * (run["scores"][metric] - run["dense_scores"][metric])
                found.setdefault(way, {})[count, task, seed] = change
    return found


def choices(contents: dict[str, Any]) -> Table:
    """Learned layers against others, paired over tasks and seeds; the interval and p are those of a paired t-test."""
    found = changes(contents)
    rows = []
    for way in OTHERS:
        shared = sorted(found.get(LEARNED, {}).keys() & found.get(way, {}).keys())
        counts = sorted({pair[0] for pair in shared})
        groups = {count: [pair for pair in shared if pair[0] == count] for count in counts}
        groups |= {", ".join(counts): shared} if len(counts) > 1 else {}
        rows += [
            _row(way, count, pairs, found[LEARNED], found[way]) for count, pairs in groups.items() if len(pairs) > 1
        ]
    header = ["against", "layers removed", "tasks", "pairs", f"{LEARNED}, change", "the other's", "difference (95 %)"]
    return [*header, "p", "won, lost"], rows


def _row(way: str, count: str, pairs: list[Pair], learned: dict[Pair, float], others: dict[Pair, float]) -> list[str]:
    own, other = (np.array([given[pair] for pair in pairs]) for given in (learned, others))
    test = stats.ttest_rel(own, other)
    low, high = test.confidence_interval()
    return [
        way, count, ", ".join(dict.fromkeys(task for _, task, _ in pairs)), str(len(pairs)), f"{own.mean():+.2f}",
        f"{other.mean():+.2f}", f"{(own - other).mean():+.2f} ({low:+.2f} to {high:+.2f})", f"{test.pvalue:.2f}",
        f"{(own > other).sum()}, {(own < other).sum()}",
    ]  # fmt: skip
