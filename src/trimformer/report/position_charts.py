"""The pictures of a study of positions: a heat map of queries by keys, and the means with their intervals."""

from __future__ import annotations

from ..methods.positions.findings import ImportanceMap, PositionImportance
from .charts import Chart


def of(found: PositionImportance) -> list[Chart]:
    """Two pictures for each map."""
    return [chart for one in found.maps for chart in (_heat_map(one), _bars(one))]


def _whose(one: ImportanceMap) -> str:
    return "shared by all layers" if one.layer is None else f"of layer {one.layer}"


def _heat_map(one: ImportanceMap) -> Chart:
    heatmap = {
        "type": "heatmap",
        "z": [[round(value, 3) for value in row] for row in one.values],
        "colorscale": [[0, "@low"], [0.5, "@middle"], [1, "@high"]],
        "colorbar": {"thickness": 10, "outlinewidth": 0, "nticks": 5},
        "hovertemplate": "query %{y}, key %{x}: %{z}<extra></extra>",
    }
    layout = {
        "xaxis": {"title": {"text": "place of the key"}, "showgrid": False},
        "yaxis": {"title": {"text": "place of the query"}, "autorange": "reversed", "showgrid": False},
    }
    low, high = min(map(min, one.values)), max(map(max, one.values))
    alternative = f"The importance of single positions goes from {low:.3f} to {high:.3f}."
    return Chart(f"Importance of each position, {_whose(one)}", alternative, 480, {"data": [heatmap], "layout": layout})


def _bars(one: ImportanceMap) -> Chart:
    bars = {
        "type": "bar",
        "orientation": "h",
        "x": [round(group.mean, 4) for group in one.groups],
        "y": [group.name for group in one.groups],
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": [round(group.high - group.mean, 4) for group in one.groups],
            "arrayminus": [round(group.mean - group.low, 4) for group in one.groups],
        },
        "customdata": [group.positions for group in one.groups],
        "hovertemplate": "%{y}: %{x:.3f}, mean of %{customdata} positions<extra></extra>",
        "marker": {"color": "@trimmed"},
    }
    layout = {
        "xaxis": {"title": {"text": "mean importance, with its 95 % interval over positions"}},
        "yaxis": {"autorange": "reversed", "type": "category", "showgrid": False, "ticksuffix": " "},
        "showlegend": False,
    }
    means = ", ".join(f"{group.name} {group.mean:.3f}" for group in one.groups)
    title = f"Mean importance of kinds of positions, {_whose(one)}"
    return Chart(title, f"{means[0].upper()}{means[1:]}.", 220, {"data": [bars], "layout": layout})
