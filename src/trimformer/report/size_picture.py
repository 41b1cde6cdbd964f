"""Models by the size of their folders and their scores, as a picture on a page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..files import save_text
from ..tasks.metric import metric
from . import numbers
from .bench_tables import TextTable
from .charts import Chart, Figure
from .report import plotly_base64
from .templating import environment


class Sized(NamedTuple):
    """A model, the bytes of its folder, its score, and whether no other is smaller and better."""

    name: str
    bytes: int
    score: float
    best: bool


def write_size_picture(
    path: Path,
    models: Sequence[Sized],
    scored: str,
    *,
    floor: float,
    limit: int,
    sentences: Sequence[str],
    tables: Sequence[TextTable],
) -> None:
    """Write the page, which works offline.

    scored: name of the metric. floor: the worst score inside the budget. limit: bytes that were asked for. sentences:
    the first is the headline. Raises TrimformerError where the page cannot be written.
    """
    title = f"Size against {scored}"
    chart = Chart(title, "The same figures are in the table below.", 420, size_figure(models, scored, floor, limit))
    page = (
        environment()
        .get_template("size.html")
        .render(
            headline=sentences[0], sentences=sentences[1:], chart=chart, tables=tables, library=plotly_base64(),
        )
    )  # fmt: skip
    save_text(path, page)


def size_figure(models: Sequence[Sized], scored: str, floor: float, limit: int) -> Figure:
    """The frontier as a line, the two budgets as a flat and an upright one. Sizes are in MB, on a logarithmic axis."""
    factor = metric(scored).factor
    best = sorted((one for one in models if one.best), key=lambda one: one.bytes)
    line = {
        "type": "scatter",
        "mode": "lines",
        "name": "frontier",
        "x": [one.bytes / 1e6 for one in best],
        "y": [factor * one.score for one in best],
        "line": {"color": "@soft", "width": 1.5, "dash": "dot"},
        "hoverinfo": "skip",
    }
    soft = {"type": "line", "line": {"color": "@soft", "width": 1}}
    layout = {
        "xaxis": {"type": "log", "title": {"text": "MB on the disk"}, "dtick": "D2"},
        "yaxis": {"title": {"text": scored}},
        "showlegend": False,
        "shapes": [
            soft | {"xref": "paper", "x0": 0, "x1": 1, "y0": factor * floor, "y1": factor * floor},
            soft | {"yref": "paper", "y0": 0, "y1": 1, "x0": limit / 1e6, "x1": limit / 1e6},
        ],
    }
    return {"data": [line, _points(models, factor)], "layout": layout}


def _points(models: Sequence[Sized], factor: float) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers+text",
        "name": "models",
        "x": [one.bytes / 1e6 for one in models],
        "y": [factor * one.score for one in models],
        "text": [one.name if one.best else "" for one in models],
        "textposition": "top right",
        "cliponaxis": False,
        "customdata": [[one.name, numbers.size(one.bytes)] for one in models],
        "hovertemplate": "%{customdata[0]}<br>%{customdata[1]}<br>%{y:.2f}",
        "marker": {"color": "@trimmed", "size": 10},
    }
