"""The GLUE runs as tables: how the layers that lose their attention are chosen, at an equal number of them."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import stats

Table = tuple[list[str], list[list[str]]]
LEARNED = "layerwise"
OTHERS = ("greedy", "last", "random")


def changes(contents: dict[str, Any], removed: int) -> dict[str, dict[tuple[str, str], float]]:
    """For each way to choose, by task and seed, the points by which the score differs from that of the dense model."""
    found: dict[str, dict[tuple[str, str], float]] = {}
    for task, content in contents.items():
        for key, run in content["runs"].items():
            name, _, seed = key.partition(" seed ")
            way, _, count = name.rpartition("-")
            if count == str(removed):
                metric = run["metric"]
                change = 100 * (run["scores"][metric] - run["dense_scores"][metric])
                found.setdefault(way, {})[task, seed] = change
    return found


def choices(contents: dict[str, Any], removed: int) -> Table:
    """Learned layers against others, paired over tasks and seeds; the interval and p are those of a paired t-test."""
    found = changes(contents, removed)
    learned, rows = found.get(LEARNED, {}), []
    for way in OTHERS:
        pairs = sorted(learned.keys() & found.get(way, {}).keys())
        if len(pairs) < 2:
            continue
        own, other = (np.array([given[pair] for pair in pairs]) for given in (learned, found[way]))
        test = stats.ttest_rel(own, other)
        low, high = test.confidence_interval()
        tasks = list(dict.fromkeys(task for task, _ in pairs))
        rows.append(
            [
                f"{way}-{removed}", ", ".join(tasks), str(len(pairs)), f"{own.mean():+.2f}", f"{other.mean():+.2f}",
                f"{(own - other).mean():+.2f} ({low:+.2f} to {high:+.2f})", f"{test.pvalue:.2f}",
                f"{(own > other).sum()}, {(own < other).sum()}",
            ]
        )  # fmt: skip
    own_change = f"{LEARNED}-{removed}, change"
    header = ["against", "tasks", "pairs", own_change, "the other's", "difference (95 %)", "p", "won, lost"]
    return header, rows
