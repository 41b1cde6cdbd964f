"""The picture of exits: what score each number of layers gives, threshold by threshold."""

from __future__ import annotations

from ..methods.exits.findings import ExitFindings
from . import numbers
from .charts import Chart


def of(found: ExitFindings, metric: str) -> Chart:
    """The score over the mean number of layers that a text goes through, and the point that was chosen."""
    chosen = found.points[found.chosen]
    hover = f"%{{x:.2f}} layers, {metric} %{{y:.4f}}, threshold %{{customdata}}<extra></extra>"
    every = {
        "type": "scatter",
        "mode": "lines+markers",
        "name": "tried",
        "x": [point.layers for point in found.points],
        "y": [point.score for point in found.points],
        "customdata": [point.threshold for point in found.points],
        "hovertemplate": hover,
        "marker": {"color": "@dense", "size": 5},
        "line": {"color": "@dense", "width": 2},
    }
    one = {
        "type": "scatter",
        "mode": "markers",
        "name": "chosen",
        "x": [chosen.layers],
        "y": [chosen.score],
        "customdata": [chosen.threshold],
        "hovertemplate": hover,
        "marker": {"color": "@trimmed", "size": 11},
    }
    layout = {
        "xaxis": {"title": {"text": "layers that a text goes through, mean"}},
        "yaxis": {"title": {"text": metric}},
        "showlegend": True,
    }
    alternative = (
        f"Through {found.points[0].layers:.2f} layers the score is {numbers.score(found.points[0].score, metric)}, "
        f"through {chosen.layers:.2f}, which was chosen, {numbers.score(chosen.score, metric)}."
    )
    return Chart("Score and layers", alternative, 300, {"data": [every, one], "layout": layout})
