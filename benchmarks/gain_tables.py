"""The rows of the tables of single steps, from benchmarks/results/gains.json; benchmarks/tables.py writes them."""

from __future__ import annotations

from typing import Any

Table = tuple[list[str], list[list[str]]]


def gains(content: dict[str, Any]) -> Table:
    """Time without a step over time with it, for each back-end at each size; and the same for padding."""
    found = content["steps"]
    times = {_key(t): t["median_ms"] for t in found["timings"]}
    sizes = list(dict.fromkeys((t["batch"], t["length"]) for t in found["timings"]))
    backends = list(dict.fromkeys(t["backend"] for t in found["timings"]))
    rows = []
    for index, step in enumerate(found["steps"]):
        for size in sizes:
            cells = [f"{times[f'without {index}', b, *size] / times[step['model'], b, *size]:.2f}x" for b in backends]
            rows.append([step["name"], step["model"], f"{size[0]}×{size[1]}", *cells])
    padded = {(t["backend"], t["lengths"]): t["sequences_per_s"] for t in content.get("padding", {}).get("timings", [])}
    if padded:
        cells = [f"{padded[b, 'bucketed'] / padded[b, 'padded']:.2f}x" for b in backends]
        rows.append(["texts sorted by length", "mean 2-11", "SST-2, 32 texts", *cells])
    return ["step", "model", "batch", *backends], rows


def kinds(content: dict[str, Any]) -> Table:
    """Milliseconds of each attention kind in ten of twelve layers."""
    found = content["steps"]
    sizes = list(dict.fromkeys((t["batch"], t["length"]) for t in found["timings"]))
    backends = list(dict.fromkeys(t["backend"] for t in found["timings"]))
    times = {_key(t): t["median_ms"] for t in found["timings"]}
    rows = [
        [f"{batch}×{length}", name, *(f"{times[name, b, batch, length]:.0f} ms" for b in backends)]
        for batch, length in sizes
        for name in found["models"]
    ]
    return ["batch", "model", *backends], rows


def _key(timing: dict[str, Any]) -> tuple[str, str, int, int]:
    return timing["name"], timing["backend"], timing["batch"], timing["length"]
