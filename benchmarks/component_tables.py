"""The tables of benchmarks/components.py: what each component costs."""

from __future__ import annotations

from typing import Any

from trimformer.report import numbers

Table = tuple[list[str], list[list[str]]]


def components(found: dict[str, Any]) -> Table:
    """A row for each component: its share of weights, operations and of the time under each back-end, and its memory.

    Under them what all parts take of a pass that is not taken apart.
    """
    backends, total = list(found["whole_ms"]), found["total"]
    told = {name: sum(piece["ms"][name] for piece in found["pieces"]) for name in backends}
    rows = [
        [
            piece["component"],
            _share(piece["weights"], total["weights"]),
            _share(piece["flops"], total["flops"]),
            numbers.size(piece["memory"]),
            *(_share(piece["ms"][name], told[name]) for name in backends),
        ]
        for piece in found["pieces"]
    ]
    sums = [numbers.count(total["weights"]), numbers.count(total["flops"]), numbers.size(total["memory"])]
    rows.append(["all parts, of a pass", *sums, *(_share(told[name], found["whole_ms"][name]) for name in backends)])
    return ["component", "weights", "FLOPs", "memory", *backends], rows


def _share(part: float, whole: float) -> str:
    return f"{100 * part / whole:.0f} %" if part else numbers.NONE
