"""The pictures of the report as plotly figures.

Colours are names (``@dense``) that the page replaces by those of its light or dark theme.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, TypeVar

from ..curves import ALPHA, aim_of
from . import numbers
from .schema import Curve, Latency, Report

MAX_POINTS = 400
"""More points than a picture has pixels for only make the file bigger; report.json keeps them all."""

T = TypeVar("T")
Figure = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Chart:
    """A figure with its title and the sentence that says the same without the picture."""

    title: str
    alternative: str
    height: int
    figure: Figure


def curves(report: Report) -> list[Chart]:
    """One picture for each curve of each stage; what a curve is to come to is in the same picture."""
    every = {(curve.stage, curve.name): curve for curve in report.curves if curve.points}
    aims = {key: every.get((key[0], aim_of(key[1]))) for key in every}
    in_others = {id(aim) for aim in aims.values()}
    return [_chart(report, curve, aims[key]) for key, curve in every.items() if id(curve) not in in_others]


def _chart(report: Report, curve: Curve, aim: Curve | None) -> Chart:
    if not isinstance(curve.points[0].value, list):
        return _line(curve, _numbers(curve), [] if aim is None else _numbers(aim))
    every = [(point.step, point.value) for point in curve.points if isinstance(point.value, list)]
    return _paths(curve, every) if curve.name.split()[0] == ALPHA else _layers(report, curve, every)


def _numbers(curve: Curve) -> list[tuple[int, float]]:
    return [(point.step, point.value) for point in curve.points if not isinstance(point.value, list)]


def _paths(curve: Curve, every: Sequence[tuple[int, list[float]]]) -> Chart:
    """A heat map of the logit of every dimension by step: what goes turns to one colour, what stays to the other."""
    most = max(abs(value) for _, given in every for value in given) or 1.0
    last = every[-1][1]
    heatmap = {
        "type": "heatmap",
        "x": [step for step, _ in every],
        "z": [[given[index] for _, given in every] for index in range(len(last))],
        "zmin": -most,
        "zmax": most,
        "colorscale": [[0, "@low"], [0.5, "@middle"], [1, "@high"]],
        "colorbar": {"thickness": 10, "tickvals": [-most, 0, most], "outlinewidth": 0},
        "hovertemplate": f"{curve.name} %{{y}}<br>step %{{x}}<br>%{{z:.2f}}<extra></extra>",
    }
    layout = {
        "xaxis": {"title": {"text": "optimiser step"}, "showgrid": False},
        "yaxis": {"autorange": "reversed", "showgrid": False, "title": {"text": "layer after layer"}},
    }
    low = sum(value < 0 for value in last)
    alternative = f"At step {every[-1][0]} {low:,} of {len(last):,} are below 0."
    return Chart(f"{curve.stage}: {curve.name}", alternative, 320, {"data": [heatmap], "layout": layout})


def _layers(report: Report, curve: Curve, every: Sequence[tuple[int, list[float]]]) -> Chart:
    """A heat map of layer by step: many layers stay readable, where lines would cover each other."""
    points, words = _thin(every), curve.name.replace("_", " ")
    layers = range(len(points[-1][1]))
    trimmed, removed = report.variant("trimmed"), set(report.removed_layers())
    decided = trimmed is not None and len(trimmed.layers) == len(layers)
    fate = {index: (" removed" if index in removed else " kept") if decided else "" for index in layers}
    values = [value for _, given in points for value in given]
    low, high = min(0.0, *values), max(1.0, *values)
    heatmap = {
        "type": "heatmap",
        "x": [step for step, _ in points],
        "y": [f"{index}{fate[index]}" for index in layers],
        "z": [[round(given[index], 3) for _, given in points] for index in layers],
        "zmin": low,
        "zmax": high,
        "colorscale": [[0, "@low"], [0.5, "@middle"], [1, "@high"]],
        "colorbar": {"thickness": 10, "tickvals": [low, (low + high) / 2, high], "outlinewidth": 0},
        "hovertemplate": f"layer %{{y}}<br>step %{{x}}<br>{words} %{{z:.2f}}<extra></extra>",
        "ygap": 2,
    }
    layout = {
        "xaxis": {"title": {"text": "optimiser step"}, "showgrid": False},
        "yaxis": {"autorange": "reversed", "type": "category", "showgrid": False, "dtick": 1, "ticksuffix": " "},
    }
    last = ", ".join(f"layer {index} {points[-1][1][index]:.2f}" for index in layers)
    title = f"{curve.stage}: {words} of each layer"
    alternative = f"At step {points[-1][0]}: {last}."
    return Chart(title, alternative, 110 + 26 * len(layers), {"data": [heatmap], "layout": layout})


def _line(curve: Curve, points: Sequence[tuple[int, float]], aim: Sequence[tuple[int, float]] = ()) -> Chart:
    """Points and, where there are enough of them, their moving mean as a line. aim: what they are to come to."""
    words = curve.name.replace("_", " ")
    steps, values = [step for step, _ in points], [value for _, value in points]
    window = len(points) // 20
    shown = _thin(list(zip(steps, values, _moving_mean(values, window), strict=True)))
    single = {
        "type": "scatter",
        "mode": "markers" if window > 1 else "lines+markers",
        "name": "each step" if window > 1 else words,
        "x": [step for step, _, _ in shown],
        "y": [value for _, value, _ in shown],
        "marker": {"color": "@trimmed", "size": 4, "opacity": 0.35 if window > 1 else 1},
        "line": {"color": "@trimmed", "width": 2},
    }
    mean = {
        "type": "scatter",
        "mode": "lines",
        "name": f"mean of {window}",
        "x": [step for step, _, _ in shown],
        "y": [mean for _, _, mean in shown],
        "line": {"color": "@trimmed", "width": 2.5},
    }
    target = {
        "type": "scatter",
        "mode": "lines",
        "name": "target",
        "x": [step for step, _ in aim],
        "y": [value for _, value in aim],
        "line": {"color": "@dense", "width": 2, "dash": "dash"},
    }
    data = [single, *[mean] * (window > 1), *[target] * bool(aim)]
    layout = {"xaxis": {"title": {"text": "optimiser step"}}, "showlegend": len(data) > 1}
    alternative = f"From {values[0]:.3f} at step {steps[0]} to {values[-1]:.3f} at step {steps[-1]}."
    alternative += f" The target there is {aim[-1][1]:.3f}." if aim else ""
    return Chart(f"{curve.stage}: {words}", alternative, 280, {"data": data, "layout": layout})


def latency(report: Report) -> list[Chart]:
    """One chart of horizontal bars per batch and length, as times of different sizes share no axis."""
    times = {variant.name: variant.latency_ms for variant in report.variants}
    every = [entry for entries in times.values() for entry in entries]
    charts = []
    for batch, length in dict.fromkeys((entry.batch, entry.length) for entry in every):
        here = {name: [e for e in t if (e.batch, e.length) == (batch, length)] for name, t in times.items()}
        backends = list(dict.fromkeys(_label(entry) for entries in here.values() for entry in entries))
        longest = max(entry.ms for entries in here.values() for entry in entries)
        layout = {
            "barmode": "group",
            "bargap": 0.3,
            "xaxis": {"range": [0, 1.4 * longest], "title": {"text": f"ms, {report.average}"}, "nticks": 5},
            "yaxis": {
                "autorange": "reversed",
                "categoryorder": "array",
                "categoryarray": backends,
                "showgrid": False,
                "ticksuffix": "  ",
            },
            "showlegend": True,
        }
        charts.append(
            Chart(
                title=f"Batch {batch}, {length} tokens",
                alternative="The same times are in the table above.",
                height=110 + 58 * len(backends),
                figure={"data": [_bars(name, entries) for name, entries in here.items()], "layout": layout},
            )
        )
    return charts


def _bars(name: str, entries: Sequence[Latency]) -> Figure:
    return {
        "type": "bar",
        "orientation": "h",
        "name": name,
        "x": [entry.ms for entry in entries],
        "y": [_label(entry) for entry in entries],
        "text": [numbers.milliseconds(entry.ms) for entry in entries],
        "textposition": "outside",
        "cliponaxis": False,
        "customdata": [[entry.p95, entry.runs] for entry in entries],
        "hovertemplate": "%{y}: %{x:.2f} ms, p95 %{customdata[0]:.2f} ms, %{customdata[1]} runs",
        "marker": {"color": f"@{name}"},
    }


def _label(entry: Latency) -> str:
    return numbers.backend(entry.backend)


def _moving_mean(values: Sequence[float], window: int) -> list[float]:
    """Mean of the last ``window`` values, of fewer at the start."""
    window = max(1, window)
    starts = [max(0, end - window) for end in range(1, len(values) + 1)]
    return [sum(values[start : end + 1]) / (end + 1 - start) for end, start in enumerate(starts)]


def _thin(points: Sequence[T]) -> list[T]:
    """At most MAX_POINTS of them, evenly spaced, first and last among them."""
    if len(points) <= MAX_POINTS:
        return list(points)
    return [points[round(i * (len(points) - 1) / (MAX_POINTS - 1))] for i in range(MAX_POINTS)]
