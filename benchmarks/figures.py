"""Figures in sentences of the docs, from the files of the tables: ``<!-- figure:NAME -->…<!-- end -->``."""

from __future__ import annotations

import statistics
from typing import Any

import autopilot_tables
import glue_tables
from scipy import stats

from trimformer.report.headline import sentence
from trimformer.report.schema import Headline


def autopilot(content: dict[str, Any]) -> dict[str, str]:
    """What the searches within half a point lose on rows that chose nothing, and how fast their files are."""
    found = list(autopilot_tables.searched(content))
    drops: dict[str, list[float]] = {}
    speeds: dict[str, list[list[float]]] = {}
    for task, _, _, drop, factors in found:
        drops.setdefault(task, []).append(drop)
        if factors:
            speeds.setdefault(task, []).append(factors)
    every = [drop for given in drops.values() for drop in given]
    means = {task: statistics.mean(given) for task, given in drops.items()}
    by_task = [[*map(statistics.geometric_mean, zip(*given, strict=True))] for given in speeds.values()]
    over_eager, _, over_stock = (statistics.geometric_mean(column) for column in zip(*by_task, strict=True))
    chosen = [search["chosen"]["drop"] for _, _, search, _, _ in found]
    inside = sum(drop <= autopilot_tables.BUDGET for drop in every)
    return {
        "autopilot-searches": str(len(every)),
        "autopilot-inside": f"{inside} of the {len(every)}",
        "autopilot-drop": f"{statistics.mean(means.values()):.2f}",
        "autopilot-error": f"{statistics.stdev(every) / len(every) ** 0.5:.1f}",
        "autopilot-drop-without-rte": f"{statistics.mean(v for task, v in means.items() if task != 'rte'):+.2f}",
        "autopilot-drop-chosen": f"{statistics.mean(chosen):+.1f}".replace("-", "−"),
        "autopilot-over-eager": f"{over_eager:.1f}",
        "autopilot-over-stock": f"{over_stock:.1f}",
    }


def demo(content: dict[str, Any]) -> dict[str, str]:
    """The last line of `trimformer demo`, of the report of one run, and the machine."""
    machine = content["hardware"]
    return {
        "demo-headline": sentence(Headline.model_validate(content["headline"])),
        "demo-machine": f"{machine['cores']} cores of an {machine['cpu']}",
    }


def choices(contents: dict[str, Any]) -> dict[str, str]:
    """Learned layers against the last ones, with three of six removed: over pairs of task and seed, and over tasks."""
    found = glue_tables.changes(contents)
    figures = {}
    for way in ("last", "random"):
        pairs = sorted(pair for pair in found["layerwise"].keys() & found[way].keys() if pair[0] == "3")
        differences = {pair: found["layerwise"][pair] - found[way][pair] for pair in pairs}
        by_task: dict[str, list[float]] = {}
        for (_, task, _), value in differences.items():
            by_task.setdefault(task, []).append(value)
        means = [statistics.mean(values) for values in by_task.values()]
        figures |= {
            f"choices-{way}": f"{statistics.mean(differences.values()):.1f}",
            f"choices-{way}-p": f"{stats.ttest_1samp(list(differences.values()), 0).pvalue:.2f}",
            f"choices-{way}-p-tasks": f"{stats.ttest_1samp(means, 0).pvalue:.2f}",
            f"choices-{way}-best-task": f"{max(means):+.1f}",
            f"choices-{way}-worst-task": f"{min(means):+.2f}",
        }
    return figures


def methods(contents: dict[str, Any]) -> dict[str, str]:
    """By task and run of benchmarks/methods.py: the change in points, and by how much the weights' file is smaller."""
    figures = {}
    for task, found in contents.items():
        whole = next((run for key, run in found.items() if key.startswith("trained-on ")), None)
        for key, run in found.items():
            name, _, _ = key.partition(" seed ")
            if name == "times":
                continue
            figures[f"methods-{task}-{name}"] = f"{100 * run['comparison']['difference']:+.1f}".replace("-", "−")
            for kind in ("megabytes", "compressed_megabytes") if whole else ():
                figures[f"methods-{task}-{name}-{kind}"] = f"{100 * (1 - run[kind] / whole[kind]):.0f} %"
    return figures
