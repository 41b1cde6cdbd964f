"""Findings as a page: importance beside cost, heads as a heat map, units by how few of them carry most."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from ..encoder.shape.kinds import ATTENTION
from ..files import save_text
from ..report.charts import Chart
from ..report.report import plotly_base64
from ..report.templating import environment
from .findings import MOST, Explanation, carriers
from .tables import tables

IN_TABLE = "The same figures are in the table."
SHARES = ((0.5, "@high"), (MOST, "@trimmed"), (0.99, "@middle"), (1.0, "@low"))
"""Shares of the importance, and the colour of the units that carry what comes up to each."""


def write_page(found: Explanation, path: Path) -> None:
    """Write the page, which works offline. Raises TrimformerError where it cannot be written."""
    recipe = found.recipe
    page = (
        environment()
        .get_template("explain.html")
        .render(
            found=found,
            pairs=[_losses(found), _times(found)],
            parts=[chart for chart in (_heads(found), _units(found)) if chart is not None],
            tables=tables(found),
            recipe="" if recipe is None else yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False),
            library=plotly_base64(),
        )
    )
    save_text(path, page)


def _losses(found: Explanation) -> Chart:
    """What the loss rises by without the attention of each layer, and without the layer."""
    hover = "layer %{y}: loss %{x:+.3f}"
    series = [
        _bars(found, "without its attention", [layer.loss - found.loss for layer in found.layers], "@trimmed", hover),
        _bars(found, "without the layer", [layer.loss_without - found.loss for layer in found.layers], "@third", hover),
    ]
    layout = {
        "xaxis": {"title": {"text": "change of the loss"}, "nticks": 5},
        "yaxis": _layer_axis(),
        "showlegend": True,
    }
    return Chart("Loss without a layer or its attention", IN_TABLE, _height(found), {"data": series, "layout": layout})


def _times(found: Explanation) -> Chart:
    """Milliseconds of attention and block, one after the other."""
    hover = "layer %{y}: %{x:.2f} ms"
    series = [
        _bars(found, "attention", [layer.attention_ms for layer in found.layers], "@trimmed", hover),
        _bars(found, "feed-forward block", [layer.ffn_ms for layer in found.layers], "@third", hover),
    ]
    layout = {
        "barmode": "stack",
        "xaxis": {"title": {"text": "milliseconds of a pass"}, "nticks": 5},
        "yaxis": _layer_axis(),
        "showlegend": True,
    }
    return Chart("Time of each layer", IN_TABLE, _height(found), {"data": series, "layout": layout})


def _heads(found: Explanation) -> Chart | None:
    """Layers by heads; None where no layer has any."""
    most = max((len(layer.heads) for layer in found.layers if ATTENTION[layer.attention].attends), default=0)
    if not most:
        return None
    values = [layer.heads if ATTENTION[layer.attention].attends else [] for layer in found.layers]
    heatmap = {
        "type": "heatmap",
        "x": [str(head) for head in range(most)],
        "y": _names(found),
        "z": [[float(f"{value:.3g}") for value in own] + [None] * (most - len(own)) for own in values],
        "zmin": 0,
        "colorscale": [[0, "@low"], [0.5, "@middle"], [1, "@high"]],
        "colorbar": {"thickness": 10, "outlinewidth": 0, "nticks": 5},
        "hovertemplate": "layer %{y}, head %{x}: %{z}<extra></extra>",
        "xgap": 2,
        "ygap": 2,
    }
    layout = {
        "xaxis": {"title": {"text": "head"}, "showgrid": False, "type": "category", "tickangle": 0},
        "yaxis": _layer_axis(),
    }
    index, head = max(
        ((index, head) for index, own in enumerate(values) for head in range(len(own))),
        key=lambda place: values[place[0]][place[1]],
    )
    alternative = f"Head {head} of layer {index} is the most important."
    return Chart("Importance of the heads", alternative, _height(found), {"data": [heatmap], "layout": layout})


def _units(found: Explanation) -> Chart | None:
    """How much of each block carries half of the importance, and so on; None where no layer has a block."""
    if not any(layer.units for layer in found.layers):
        return None
    reached = [
        [100 * carriers(layer.units, share) / max(1, len(layer.units)) for share, _ in SHARES] for layer in found.layers
    ]
    hover = "layer %{y}: %{x:.0f} % of the units"
    names = [
        "the first 50 % of the importance",
        *(f"up to {100 * share:.0f} %" for share, _ in SHARES[1:-1]),
        "the rest",
    ]
    series = []
    for place, (name, (_, colour)) in enumerate(zip(names, SHARES, strict=True)):
        widths = [own[place] - (own[place - 1] if place else 0) for own in reached]
        series.append(_bars(found, name, widths, colour, hover))
    layout = {
        "barmode": "stack",
        "xaxis": {
            "title": {"text": "share of the units, the most important first"},
            "range": [0, 100],
            "ticksuffix": " %",
        },
        "yaxis": _layer_axis(),
        "showlegend": True,
    }
    return Chart("Units of the feed-forward blocks", IN_TABLE, 40 + _height(found), {"data": series, "layout": layout})


def _bars(found: Explanation, name: str, values: list[float], colour: str, hover: str) -> dict[str, Any]:
    """A horizontal bar for each layer."""
    return {
        "type": "bar",
        "orientation": "h",
        "name": name,
        "x": [float(f"{value:.4g}") for value in values],
        "y": _names(found),
        "hovertemplate": hover,
        "marker": {"color": colour},
    }


def _names(found: Explanation) -> list[str]:
    return [str(index) for index in range(len(found.layers))]


def _layer_axis() -> dict[str, Any]:
    return {
        "title": {"text": "layer"}, "autorange": "reversed", "type": "category", "showgrid": False, "dtick": 1,
        "ticksuffix": " ",
    }  # fmt: skip


def _height(found: Explanation) -> int:
    return 120 + 26 * len(found.layers)
