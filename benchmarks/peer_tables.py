"""The rows of the peers' tables, from benchmarks/results/peers.json; benchmarks/tables.py writes them."""

from __future__ import annotations

from typing import Any

Table = tuple[list[str], list[list[str]]]


def speed(content: dict[str, Any]) -> Table:
    """Milliseconds of each variant at each shape, and its factor to the first that ran, Hugging Face eager."""
    found = content.get("speed", {"timings": []})
    shapes = list(dict.fromkeys((timing["batch"], timing["length"]) for timing in found["timings"]))
    times: dict[tuple[str, str], dict[tuple[int, int], Any]] = {}
    for timing in found["timings"]:
        times.setdefault((timing["name"], timing["backend"]), {})[timing["batch"], timing["length"]] = timing
    first = {
        shape: next(row[shape]["median_ms"] for row in times.values() if row[shape]["median_ms"]) for shape in shapes
    }
    rows = []
    for (name, backend), row in times.items():
        flops = [of / dense for of, dense in zip(found["flops"][name], found["flops"]["dense"], strict=True)]
        cells = [_cell(row[shape], first[shape], share) for shape, share in zip(shapes, flops, strict=True)]
        only = "torchao" if backend.startswith("torchao") else name
        rows.append([name, backend, *cells, f"`--only {only!r}`" if " " in name else f"`--only {only}`"])
    return ["model", "back-end", *(f"{batch}×{length}" for batch, length in shapes), "this row"], rows


def _cell(timing: dict[str, Any], first: float, flops: float) -> str:
    if timing["median_ms"] is None:
        return f"not run: {timing['skipped']}"
    return f"{timing['median_ms']:.1f} ms, {first / timing['median_ms']:.2f}x, FLOPs {flops:.2f}"


def scores(content: dict[str, Any]) -> Table:
    """The official metric in PyTorch with its difference from the dense model, and on each back-end; and the speed."""
    measured = dict.fromkeys(result["backend"] for found in content.values() for result in found.get("results", []))
    backends = [backend for backend in measured if backend != "torch"]
    rows = []
    for key, found in content.items():
        if not key.startswith("score "):
            continue
        _, task, _, seed = key.split()
        models: dict[str, dict[str, Any]] = {}
        for result in found["results"]:
            models.setdefault(result["name"], {})[result["backend"]] = result
        factors = _factors(content.get(f"times {task}", {"timings": []})["timings"])
        for name, results in models.items():
            plain, metric = results["torch"], found["metric"]
            test = plain["against_dense"]
            low, high, difference = (f"{100 * test[field]:+.1f}" for field in ("low", "high", "difference"))
            rows.append(
                [
                    f"{task}, seed {seed}",
                    name,
                    f"{plain['flops'] / models['dense']['torch']['flops']:.2f}",
                    f"{100 * plain['scores'][metric]:.1f}",
                    "" if name == "dense" else f"{difference} ({low} to {high})",
                    *(f"{100 * results[b]['scores'][metric]:.1f}" if b in results else "" for b in backends),
                    factors.get(name, ""),
                ]
            )
    return ["task", "model", "FLOPs", "PyTorch fp32", "difference (95 %)", *backends, "fastest, against eager"], rows


def _factors(timings: list[dict[str, Any]]) -> dict[str, str]:
    """The fastest back-end of each model, and its factor to the dense model in stock eager PyTorch."""
    ran = [timing for timing in timings if timing["median_ms"] is not None]
    eager = next((t["median_ms"] for t in ran if (t["name"], t["backend"]) == ("dense", "eager")), None)
    best: dict[str, dict[str, Any]] = {}
    for timing in sorted(ran, key=lambda timing: timing["median_ms"]):
        best.setdefault(timing["name"], timing)
    return {name: f"{eager / t['median_ms']:.2f}x, {t['backend']}" for name, t in best.items()} if eager else {}
