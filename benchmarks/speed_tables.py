"""The rows of the speed tables, from benchmarks/results/speed_bert_base.json; benchmarks/tables.py writes them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Table = tuple[list[str], list[list[str]]]
Timings = list[dict[str, Any]]
Size = tuple[int, int]

SHORT = ("eager", "sdpa", "onnx", "onnx-int8", "openvino-bf16", "openvino-int8")
TRIMMED = ("mean 2-11", "none 2-11")


def short(content: dict[str, Any]) -> Table:
    """The rows of docs/results.md: milliseconds and the factor to stock eager PyTorch."""
    timings = [t for t in content["shapes"]["timings"] if t["backend"] in SHORT]
    sizes = [size for size in _sizes(timings) if size in ((4, 256), (8, 128))]
    rows = [
        [f"{name}, {backend}", *(_cell(row[size]) for size in sizes)]
        for (name, backend), row in _rows(timings)
        if all(size in row for size in sizes)
    ]
    return ["model, backend", *map(_shown, sizes)], rows


def shapes(content: dict[str, Any]) -> Table:
    """Every variant at every size, with the share of the machine's limit at the largest, and how to run it again."""
    timings = content["shapes"]["timings"]
    sizes = _sizes(timings)
    largest = max(sizes, key=lambda size: size[0] * size[1])
    rows = []
    for (name, backend), row in _rows(timings):
        share = row.get(largest, {}).get("peak_share")
        rows.append(
            [
                *(name, backend),
                *(_cell(row[size]) if size in row else "" for size in sizes),
                f"{100 * share:.0f} %" if share else "",
                f"`--backends {'eager' if backend == 'eager' else f'eager,{backend}'}`",
            ]
        )
    return ["model", "back-end", *map(_shown, sizes), f"of peak, {_shown(largest)}", "this row"], rows


def peaks(content: dict[str, Any]) -> Table:
    rows = [
        [peak["precision"], peak["library"], "×".join(map(str, peak["size"])), f"{peak['flops_per_s'] / 1e9:,.0f}"]
        for peak in content["shapes"].get("peaks", [])
    ]
    return ["precision", "fastest library", "rows×inputs×outputs", "GFLOP/s"], rows


def sweep(content: dict[str, Any]) -> Table:
    """Dense time over trimmed time of the same back-end; below 1 the trimmed model would be slower."""
    timings = content.get("sweep", {}).get("timings", [])
    lengths = sorted({t["length"] for t in timings})
    times = {(t["backend"], t["name"], t["batch"], t["length"]): t["median_ms"] for t in timings}
    rows = []
    for backend in dict.fromkeys(t["backend"] for t in timings):
        for batch in sorted({t["batch"] for t in timings}):
            cells = []
            for n in lengths:
                dense = times.get((backend, "dense", batch, n))
                found = [times.get((backend, name, batch, n)) for name in TRIMMED]
                cells.append(", ".join(f"{dense / time:.2f}" if dense and time else "–" for time in found))
            rows.append([backend, str(batch), *cells, f"`--part sweep --only {backend}`"])
    return ["back-end", "batch", *(f"{n} tokens" for n in lengths), "this row"], rows


def fresh(content: dict[str, Any]) -> Table:
    rows = []
    for found in content.get("fresh", {}).get("footprints", []):
        if found["start_s"] is not None:
            seconds = [f"{found[key]:.2f}" for key in ("start_s", "import_s", "load_s", "first_s")]
            memory = f"{found['peak_bytes'] / 1e6:,.0f}" if found["peak_bytes"] else ""
            rerun = f"`--part fresh --only {found['backend']}`"
            rows.append([found["name"], found["backend"], f"{found['disk_bytes'] / 1e6:,.0f}", *seconds, memory, rerun])
    return ["model", "back-end", "disk MB", "start s", "import", "load", "first", "memory MB", "this row"], rows


def targets(content: dict[str, Any]) -> Table:
    """What was aimed at and what was reached; rows whose numbers are not measured are left out."""
    return ["what", "target", "reached", "by"], [list(row) for row in _targets(content)]


def _targets(content: dict[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    timings = [t for t in content["shapes"]["timings"] if t["median_ms"]]
    aims = (
        ("mean 2-11", (4, 256), 6.5), ("none 2-11", (4, 256), 14), ("mean 2-11", (1, 128), 6),
    )  # fmt: skip
    for name, size, target in aims:
        if found := _fastest(timings, name, size):
            eager = next(t for t in timings if t["backend"] == "eager" and _size(t) == size)
            factor = eager["median_ms"] / found["median_ms"]
            yield f"{name}, {_shown(size)}, against eager", f"≥ {target}x", f"{factor:.2f}x", found["backend"]
    dense, mean = (_fastest(timings, name, (4, 256)) for name in ("dense", "mean 2-11"))
    if dense and mean:
        factor = f"{dense['median_ms'] / mean['median_ms']:.2f}x"
        by = f"{mean['backend']} against {dense['backend']}"
        yield "mean 2-11, 4×256, against the best dense back-end", "≥ 1.9x", factor, by
    int8 = [
        t
        for t in timings
        if t["name"] == "mean 2-11" and "int8" in t["backend"] and _size(t) == (8, 256) and t.get("peak_share")
    ]
    if int8:
        best = max(int8, key=lambda t: t["peak_share"])
        share = f"{100 * best['peak_share']:.0f} %"
        yield "mean 2-11, 8×256, share of the int8 peak", "≥ 70 %", share, best["backend"]
    swept = {(t["backend"], t["name"], *_size(t)): t["median_ms"] for t in content.get("sweep", {}).get("timings", [])}
    factors = {
        key: swept[key[0], "dense", *key[2:]] / time
        for key, time in swept.items()
        if key[1] in TRIMMED and time and swept.get((key[0], "dense", *key[2:]))
    }
    if factors:
        key = min(factors, key=lambda at: factors[at])
        where = f"{key[1]} under {key[0]} at {_shown((key[2], key[3]))}"
        yield f"dense time over trimmed, lowest of {len(factors)}", "≥ 1x", f"{factors[key]:.2f}x", where


def _fastest(timings: Timings, name: str, size: Size) -> dict[str, Any] | None:
    found = [t for t in timings if t["name"] == name and _size(t) == size]
    return min(found, key=lambda t: t["median_ms"], default=None)


def _rows(timings: Timings) -> list[tuple[tuple[str, str], dict[Size, dict[str, Any]]]]:
    """Variant -> size -> timing, of those that ran."""
    rows: dict[tuple[str, str], dict[Size, dict[str, Any]]] = {}
    for timing in timings:
        if timing["median_ms"] is not None:
            rows.setdefault((timing["name"], timing["backend"]), {})[_size(timing)] = timing
    return list(rows.items())


def _sizes(timings: Timings) -> list[Size]:
    return list(dict.fromkeys(map(_size, timings)))


def _size(timing: dict[str, Any]) -> Size:
    return timing["batch"], timing["length"]


def _shown(size: Size) -> str:
    return f"{size[0]}×{size[1]}"


def _cell(timing: dict[str, Any]) -> str:
    return f"{timing['median_ms']:.0f} ms ({timing['speedup']:.2f}x)"
