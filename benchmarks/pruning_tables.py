"""The table of benchmarks/pruning.py: movement beside magnitude at the same share of the weights."""

from __future__ import annotations

import re
import statistics
from typing import Any

from student_tables import Table, spread


def runs(found: dict[str, Any]) -> Table:
    """A row for each task and method: the mean of its seeds, the dense model's, and what it gains over magnitude."""
    scores: dict[tuple[str, str], dict[int, float]] = {}
    entries: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for key, run in found.items():
        task, name, _, seed = key.split()
        scores.setdefault((task, name), {})[int(seed)] = 100 * run["scores"][run["metric"]]
        entries.setdefault((task, name), []).append(run)
    rows = []
    for (task, name), own in scores.items():
        seeds = entries[task, name]
        metric = seeds[0]["metric"]
        method, _, share = name.partition("-")
        other = scores.get((task, f"magnitude-{share}"), {}) if method != "magnitude" else {}
        gains = [score - other[seed] for seed, score in own.items() if seed in other]
        rows.append([
            task, method, f"{statistics.mean(map(left, seeds)):.1f} %", f"{metric} {spread([*own.values()])}",
            spread([100 * run["dense_scores"][metric] for run in seeds]), spread(gains, sign="+") if gains else "",
            str(len(seeds)), f"{statistics.mean(run['params'][1] for run in seeds) / 1e6:.1f} M",
        ])  # fmt: skip
    header = [
        "task",
        "method",
        "weights left",
        "validation score",
        "dense",
        "over magnitude",
        "seeds",
        "stored weights",
    ]
    return header, rows


def left(run: dict[str, Any]) -> float:
    """The percentage of the weights of the layers that the pruning kept, as its note says."""
    found = re.search(r"stay \(([\d.]+)%\)|([\d.]+)% of the weights of the layers", " ".join(run["notes"]))
    assert found is not None, "a run of pruning says how much it keeps"
    return float(found[1] or found[2])
