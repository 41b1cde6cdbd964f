"""The tables of benchmarks/components.py: what each component costs."""

from __future__ import annotations

from typing import Any

from trimformer.report import numbers

Table = tuple[list[str], list[list[str]]]


def components(found: dict[str, Any]) -> Table:
    """A row for each component: share of weights and operations, memory, and milliseconds under each back-end."""
    backends, total = list(found["whole_ms"]), found["total"]
    told = {name: sum(piece["ms"][name] for piece in found["pieces"]) for name in backends}
    rows = [
        [
            piece["component"],
            _share(piece["weights"], total["weights"]),
            _share(piece["flops"], total["flops"]),
            numbers.size(piece["memory"]),
            *(f"{_ms(piece['ms'][name])} ({_share(piece['ms'][name], told[name])})" for name in backends),
        ]
        for piece in found["pieces"]
    ]
    sums = [numbers.count(total["weights"]), numbers.count(total["flops"]), numbers.size(total["memory"])]
    rows.append(["all parts", *sums, *(_ms(told[name]) for name in backends)])
    rows.append(["a pass as it is", "", "", "", *(_ms(found["whole_ms"][name]) for name in backends)])
    return ["component", "weights", "FLOPs", "memory", *(f"{name}, ms" for name in backends)], rows


def _share(part: float, whole: float) -> str:
    return f"{100 * part / whole:.0f} %" if part else numbers.NONE


def _ms(time: float) -> str:
    return numbers.milliseconds(time).removesuffix(" ms")
