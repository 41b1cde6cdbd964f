"""What ``profile`` found as a page: the share of each component in what is counted and measured, and the times."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..files import save_text
from ..measure.profile.profile import Piece, Profile
from . import numbers
from .charts import Chart
from .profile_tables import tables, workload
from .report import plotly_base64
from .templating import environment

IN_TABLE = "The same figures are in the tables."
COLOURS = ("@fifth", "@middle", "@trimmed", "@high", "@dense", "@third", "@fourth", "@soft", "@line")


def write_page(found: Profile, path: Path) -> None:
    """Write the page, which works offline. Raises TrimformerError where it cannot be written."""
    page = (
        environment()
        .get_template("profile.html")
        .render(
            found=found,
            headline=headline(found),
            workload=workload(found),
            charts=[_shares(found), *([_times(found)] if found.whole_ms else []), _memory(found)],
            tables=tables(found),
            notes=found.notes(),
            library=plotly_base64(),
        )
    )
    save_text(path, page)


def headline(found: Profile) -> str:
    """What takes most of the time under the fastest back-end; of the operations, where nothing was timed."""
    if not found.whole_ms:
        most = max(found.pieces, key=lambda piece: piece.flops)
        return f"{most.component}: {100 * most.flops / max(found.flops, 1):.0f} % of the operations"
    fastest = min(found.whole_ms, key=lambda backend: found.whole_ms[backend])
    most = max(found.pieces, key=lambda piece: piece.ms[fastest])
    share = 100 * most.ms[fastest] / found.told(fastest)
    whole = numbers.milliseconds(found.whole_ms[fastest])
    return f"{most.component}: {share:.0f} % of the {whole} that a pass takes under {numbers.backend(fastest)}"


def _shares(found: Profile) -> Chart:
    """A bar of 100 % for each thing that is counted or measured."""
    what: dict[str, Callable[[Piece], float]] = {
        "weights": lambda piece: piece.weights,
        "on disk": lambda piece: piece.bytes,
        "FLOPs": lambda piece: piece.flops,
    }
    what |= {f"ms, {backend}": _time_under(backend) for backend in found.whole_ms}
    wholes = {name: sum(map(value, found.pieces)) for name, value in what.items()}
    rows = [name for name, whole in wholes.items() if whole]
    shares = [[100 * what[name](piece) / wholes[name] for name in rows] for piece in found.pieces]
    axis = {"range": [0, 100], "ticksuffix": " %"}
    return _stacked("Share of each component", found, rows, shares, "%{y}: %{x:.1f} %", axis)


def _times(found: Profile) -> Chart:
    rows = list(found.whole_ms)
    times = [[piece.ms[name] for name in rows] for piece in found.pieces]
    axis = {"title": {"text": "milliseconds of a pass"}, "nticks": 6}
    return _stacked("Time of each component", found, rows, times, "%{y}: %{x:.2f} ms", axis)


def _memory(found: Profile) -> Chart:
    bar = {
        "type": "bar",
        "orientation": "h",
        "x": [piece.memory / 1e6 for piece in found.pieces],
        "y": [piece.component for piece in found.pieces],
        "text": [numbers.size(piece.memory) for piece in found.pieces],
        "textposition": "outside",
        "cliponaxis": False,
        "hovertemplate": "%{y}: %{x:.2f} MB<extra></extra>",
        "marker": {"color": _colours(found)},
    }
    axis = {"title": {"text": "MB"}, "nticks": 5, "range": [0, 1.3 * found.memory / 1e6]}
    figure = {"data": [bar], "layout": {"xaxis": axis, "yaxis": _names()}}
    return Chart("Most activations at one time", IN_TABLE, 90 + 30 * len(found.pieces), figure)


def _stacked(
    title: str, found: Profile, rows: list[str], values: Sequence[list[float]], hover: str, axis: dict[str, Any]
) -> Chart:
    """A bar for each row, in which the components follow one another."""
    bars = [
        {
            "type": "bar",
            "orientation": "h",
            "name": piece.component,
            "x": own,
            "y": rows,
            "hovertemplate": f"{piece.component}, {hover}<extra></extra>",
            "marker": {"color": colour},
        }
        for piece, own, colour in zip(found.pieces, values, _colours(found), strict=True)
    ]
    layout = {"barmode": "stack", "bargap": 0.25, "xaxis": axis, "yaxis": _names(), "showlegend": True}
    return Chart(title, IN_TABLE, 190 + 32 * len(rows), {"data": bars, "layout": layout})


def _names() -> dict[str, Any]:
    return {"autorange": "reversed", "type": "category", "showgrid": False, "ticksuffix": "  "}


def _colours(found: Profile) -> list[str]:
    return [COLOURS[index % len(COLOURS)] for index in range(len(found.pieces) - 1)] + [COLOURS[-1]]


def _time_under(backend: str) -> Callable[[Piece], float]:
    return lambda piece: piece.ms[backend]
