"""The rows of the tables of long texts, from benchmarks/results/long_texts.json; benchmarks/tables.py writes them."""

from __future__ import annotations

from typing import Any

Table = tuple[list[str], list[list[str]]]
NOT_MEASURED = "not measured yet"


def speed(content: dict[str, Any]) -> Table:
    """Milliseconds with full attention and with a window, and how many times faster that is; and fewer operations."""
    found = {tuple(key.split()): one["times"] for key, one in content["speed"].items()}
    fewer = {key.split()[1]: one["operations"] for key, one in content["speed"].items()}
    backends = list(dict.fromkeys(backend for backend, _ in found))
    lengths = sorted({int(length) for _, length in found})
    rows = [
        [f"{n:,}", f"{fewer[str(n)]:.2f}x", *(_compared(found.get((backend, str(n)))) for backend in backends)]
        for n in lengths
    ]
    return ["tokens", "operations", *backends], rows


def _compared(times: dict[str, Any] | None) -> str:
    if times is None:
        return NOT_MEASURED
    full, window = times["full"], times["window"]
    if full["median_ms"] is None or window["median_ms"] is None:
        return full["skipped"] or window["skipped"]
    return f"{full['median_ms']:,.0f} → {window['median_ms']:,.0f} ms, {full['median_ms'] / window['median_ms']:.2f}x"


def memory(content: dict[str, Any]) -> Table:
    """The most memory above that of the weights, and the seconds of the first answer, by version and back-end."""
    found = {(one["version"], one["backend"], one["length"]): one for one in content.get("memory", {}).values()}
    lengths = sorted({length for _, _, length in found})
    kinds = dict.fromkeys((version, backend) for version, backend, _ in found)
    rows = [[*kind, *(_above(found.get((*kind, n))) for n in lengths)] for kind in kinds]
    return ["version", "back-end", *(f"{n:,} tokens" for n in lengths)], rows


def _above(one: dict[str, Any] | None) -> str:
    if one is None:
        return NOT_MEASURED
    if one["peak_bytes"] is None:
        return "unknown"
    return f"{(one['peak_bytes'] - one['disk_bytes']) / 1e9:.2f} GB, {one['first_s']:.1f} s"
