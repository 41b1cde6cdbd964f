"""The table of benchmarks/methods.py: what each way to a smaller encoder keeps, weighs and saves."""

from __future__ import annotations

from typing import Any

Table = tuple[list[str], list[list[str]]]


def runs(contents: dict[str, Any]) -> Table:
    """A row for each task and run of its seed: score, change with its 95 % interval, shares, sizes, speeds."""
    rows = []
    for task, found in contents.items():
        speeds = factors(found)
        for key, run in found.items():
            name, _, seed = key.partition(" seed ")
            if name == "times":
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
