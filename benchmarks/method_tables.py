"""The tables of benchmarks/methods.py: what each way to a smaller encoder keeps, weighs and saves."""

from __future__ import annotations

import statistics
from typing import Any

from scipy import stats

Table = tuple[list[str], list[list[str]]]
LEARNED = "layerwise"
"""Runs of learned layers have a table of their own."""


def runs(contents: dict[str, Any]) -> Table:
    """A row for each task and run of its seed: score, change with its 95 % interval, shares, sizes, speeds."""
    rows = []
    for task, found in contents.items():
        speeds = factors(found)
        for key, run in found.items():
            name, _, seed = key.partition(" seed ")
            if name == "times" or name.startswith(LEARNED):
                continue
            test, metric = run["comparison"], run["metric"]
            flops, params = (f"{after / before:.2f}" for before, after in (run["flops_per_example"], run["params"]))
            rows.append([
                task, name, f"{metric} {100 * run['scores'][metric]:.1f}",
                f"{100 * test['difference']:+.1f} ({100 * test['low']:+.1f} to {100 * test['high']:+.1f})",
                flops, params, f"{run['megabytes']:.0f} MB, {run['compressed_megabytes']:.0f} MB",
                ", ".join(speeds.get((name, seed), [])),
            ])  # fmt: skip
    header = ["task", "run", "validation score", "change (95 %)", "FLOPs", "weights", "file, compressed"]
    return [*header, "speed fp32, int8"], rows


def fitted_means(contents: dict[str, Any]) -> Table:
    """Learned layers trained from fitted means and from means as they are: points over seeds, paired by seed."""
    rows = []
    for task, found in contents.items():
        for name in (f"{LEARNED}-{removed}" for removed in (3, 4)):
            seeds = [key.rpartition(" ")[-1] for key in found if key.startswith(f"{name}-fitted seed ")]
            if not seeds:
                continue
            plain, fitted = (
                [100 * found[f"{run} seed {seed}"]["comparison"]["difference"] for seed in seeds]
                for run in (name, f"{name}-fitted")
            )
            gains = [after - before for before, after in zip(plain, fitted, strict=True)]
            p = f"{stats.ttest_rel(fitted, plain).pvalue:.2f}" if len(seeds) > 1 else ""
            rows.append([task, name[-1], str(len(seeds)), *map(_spread, (plain, fitted, gains)), p])
    return ["task", "removed", "seeds", "as they are", "fitted", "difference", "p"], rows


def _spread(points: list[float]) -> str:
    """Mean and standard deviation."""
    deviation = f" ± {statistics.stdev(points):.1f}" if len(points) > 1 else ""
    return f"{statistics.mean(points):+.1f}{deviation}"


def factors(found: dict[str, Any]) -> dict[tuple[str, str], list[str]]:
    """By run and seed, the dense model's time over the run's, under fp32 and int8."""
    shown: dict[tuple[str, str], list[str]] = {}
    for key, content in found.items():
        name, _, seed = key.partition(" seed ")
        if name != "times":
            continue
        times = {(one["name"], one["backend"]): one["median_ms"] for one in content["timings"]}
        for backend in ("onnx", "onnx-int8"):
            for run in dict.fromkeys(run for run, _ in times):
                shown.setdefault((run, seed), []).append(f"{times['dense', backend] / times[run, backend]:.2f}")
    return shown
