"""What ``profile`` found as tables, the same in the terminal and in the page."""

from __future__ import annotations

from ..measure.profile.profile import Piece, Profile
from . import numbers
from .bench_tables import TextTable

IN_ONE = 3
"""Back-ends in a table, which 80 columns hold."""


def tables(found: Profile) -> list[TextTable]:
    """What is counted, and the milliseconds of each component under the back-ends that ran."""
    names = list(found.whole_ms)
    several = [names[start : start + IN_ONE] for start in range(0, len(names), IN_ONE)]
    return [_counted(found), *(_measured(found, some) for some in several)]


def workload(found: Profile) -> str:
    """``batch 1, 128 tokens (random ids)``, or the lengths of the texts."""
    if found.texts is None:
        return f"batch {found.batch}, {found.length} tokens (random ids)"
    return f"batch {found.batch}, the texts of {found.texts} (mean {found.length} tokens)"


def _counted(found: Profile) -> TextTable:
    rows = [
        [
            piece.component,
            _with_share(numbers.count(piece.weights), piece.weights, found.weights),
            _with_share(numbers.size(piece.bytes), piece.bytes, found.bytes),
            _with_share(numbers.count(piece.flops), piece.flops, found.flops),
            numbers.size(piece.memory),
        ]
        for piece in found.pieces
    ]
    rows.append(
        [
            "all", numbers.count(found.weights), numbers.size(found.bytes), numbers.count(found.flops),
            numbers.size(found.memory),
        ]
    )  # fmt: skip
    header = ["component", "weights", "on disk" if found.on_disk else "as fp32", "FLOPs", "memory"]
    return TextTable(f"Counted, {workload(found)}", header, rows)


def _measured(found: Profile, backends: list[str]) -> TextTable:
    def cell(piece: Piece, backend: str) -> str:
        return _with_share(_ms(piece.ms[backend]), piece.ms[backend], found.told(backend))

    rows = [[piece.component, *(cell(piece, backend) for backend in backends)] for piece in found.pieces]
    rows.append(["all parts", *(_ms(found.told(backend)) for backend in backends)])
    rows.append(["a pass as it is", *(_ms(found.whole_ms[backend]) for backend in backends)])
    threads = f"{found.threads} thread{'' if found.threads == 1 else 's'}"
    return TextTable(f"Measured milliseconds of a pass, {threads}", ["component", *backends], rows)


def _with_share(text: str, part: float, whole: float) -> str:
    return f"{text} {100 * part / whole:.0f} %" if part and whole else numbers.NONE


def _ms(time: float) -> str:
    return numbers.milliseconds(time).removesuffix(" ms")
