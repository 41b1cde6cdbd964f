"""Findings as tables, the same in the terminal and in the page."""

from __future__ import annotations

import numpy as np

from ..deploy.agreement import percent
from ..encoder.shape.kinds import ATTENTION
from ..report import numbers
from ..report.bench_tables import TextTable
from .findings import MOST, Depth, Explanation, FileFinding, carriers


def tables(found: Explanation) -> list[TextTable]:
    """The layers, how many of them texts need, then the precisions, the fastest first."""
    return [_layers(found), *([] if found.depth is None else [_depth(found.depth)]), _precisions(found)]


def _layers(found: Explanation) -> TextTable:
    rows = [
        [
            str(index), layer.attention, _change(layer.loss - found.loss), _change(layer.loss_without - found.loss),
            f"{carriers(layer.heads)}/{len(layer.heads)}" if ATTENTION[layer.attention].attends else numbers.NONE,
            f"{100 * carriers(layer.units) / len(layer.units):.0f} %" if layer.units else numbers.NONE,
            f"{layer.attention_ms:.2f}", f"{layer.ffn_ms:.2f}",
        ]
        for index, layer in enumerate(found.layers)
    ]  # fmt: skip
    attention, blocks = (sum(getattr(layer, name) for layer in found.layers) for name in ("attention_ms", "ffn_ms"))
    rows.append(["all", "as it is", "", "", "", "", f"{attention:.2f}", f"{blocks:.2f}"])
    header = ["layer", "attention", "change", "whole", "heads", "units", "attention ms", "FFN ms"]
    notes = [
        f"Change: of the loss, {found.loss:.3f} on {found.drawn:,} {found.split} rows, with a mean in place of that "
        "layer's attention alone; whole: without the whole layer. Heads, units of the feed-forward block (FFN): the "
        f"fewest that carry {100 * MOST:.0f} % of the layer's importance. "
        f"Milliseconds: of a pass under {numbers.backend(found.table_backend)}, batch {found.batch}, {found.length} "
        f"tokens, from the table of the device; embeddings and head take {found.rest_ms:.2f} more."
    ]
    return TextTable("Layers", header, rows, notes)


def _depth(needed: Depth) -> TextTable:
    total, shares = sum(needed.executed), np.cumsum(needed.executed)
    rows = [
        [str(number), f"{100 * count / total:.0f} %", f"{100 * upto / total:.0f} %"]
        for number, (count, upto) in enumerate(zip(needed.executed, shares, strict=True), 1)
    ]
    notes = [
        f"Texts: of {total:,} that no exit was fitted on, the share of which an exit is {100 * needed.sure:.0f} % sure "
        "behind so many layers and not before; at most: behind so many or fewer."
    ]
    return TextTable("Layers that texts need", ["layers", "texts", "at most"], rows, notes)


def _precisions(found: Explanation) -> TextTable:
    rows = [
        [
            file.backend,
            f"{file.ms:.2f}",
            f"{file.speedup:.2f}×",
            numbers.hundredths(file.score, found.metric),
            *_difference(found, file),
            percent(file.agreement),
        ]
        for file in sorted(found.files, key=lambda file: file.ms)
    ]  # fmt: skip
    notes = [
        f"Times: median of a pass, taking turns, {found.threads} {'thread' if found.threads == 1 else 'threads'}; the "
        f"speed is against the fastest in fp32. Scores: on {found.rows:,} {found.split} rows, against PyTorch in fp32."
    ]
    return TextTable(
        "Precisions", ["backend", "ms", "speed", found.metric, "difference", "95 % interval", "as fp32"], rows, notes
    )


def _difference(found: Explanation, file: FileFinding) -> tuple[str, str]:
    """In points or the unit of an error, with the interval; a bootstrap of too few answers that differ has none."""
    if file.backend == "torch":
        return "", ""
    shown = [numbers.points(value, found.metric, unit=False) for value in (file.difference, file.low, file.high)]
    if not file.proves:
        return shown[0], "none, too few answers differ"
    return shown[0], f"{shown[1]} to {shown[2]}{' (exact)' if file.interval == 'exact' else ''}"


def _change(difference: float) -> str:
    return f"{difference:+.3f}".replace("-", numbers.MINUS)
