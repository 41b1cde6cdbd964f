"""What ``bench`` measured as a picture: speed against score where there are scores, else bars of speed."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import TrimformerError
from ..files import save_text
from ..measure.bench.bench import Bench
from ..measure.bench.latency import Timing, speedups
from ..tasks.metric import Metric, metric
from . import numbers
from .bench_tables import TextTable, tables, workload_title
from .charts import Chart, Figure
from .report import plotly_base64
from .templating import environment

DEPTH = 0.1
"""How far below the budget a picture of a search reaches, in shares and parts of an error: one of all scores would show
no difference."""
COLOURS = ("@dense", "@trimmed", "@third", "@fourth", "@fifth")
ZERO_WIDTH = "\u200b"
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross")


@dataclasses.dataclass(frozen=True)
class Told:
    """What the page of a search says beside what was measured.

    program: that made it. sentences: the first is the headline. floor: the worst score that is inside the budget.
    tables: of the models.
    """

    program: str
    sentences: Sequence[str]
    floor: float
    tables: Sequence[TextTable]


def check_picture(path: Path) -> None:
    """Raise TrimformerError where the page could not be written; call it before long work."""
    if path.suffix != ".html":
        raise TrimformerError(f"The picture is an HTML page, not {path.name}: name a file that ends in .html.")
    environment()


def write_picture(bench: Bench, path: Path, told: Told | None = None) -> None:
    """Write the page, which works offline. Raises TrimformerError where it cannot be written."""
    scored = any(score.score is not None for score in bench.scores)
    floor = told.floor if told else None
    charts = [_chart(bench, timings, scored, floor) for timings in _by_workload(bench.timings) if _ran(timings)]
    name = next((score.metric for score in bench.scores if score.score is not None), "")
    page = (
        environment()
        .get_template("bench.html")
        .render(
            bench=bench,
            program=told.program if told else "trimformer bench",
            headline=told.sentences[0] if told else _headline(bench),
            sentences=told.sentences[1:] if told else bench.notes(),
            title=f"Speed against {name}" if scored else "Speed",
            explanation=_explanation(scored, floor, metric(name)),
            charts=charts,
            tables=[*(told.tables if told else ()), *tables(bench)],
            library=plotly_base64(),
        )
    )
    save_text(path, page)


def frontier(points: Sequence[tuple[float, float]]) -> list[int]:
    """Which points no other beats in both, by rising first value: as good in one and better in the other counts."""
    order = sorted(range(len(points)), key=lambda i: (-points[i][0], -points[i][1]))
    best, kept = float("-inf"), []
    for i in order:
        if points[i][1] > best:
            best = points[i][1]
            kept.append(i)
    return kept[::-1]


def _by_workload(timings: Sequence[Timing]) -> list[list[Timing]]:
    groups: dict[str, list[Timing]] = {}
    for timing in timings:
        groups.setdefault(workload_title(timing), []).append(timing)
    return list(groups.values())


def _ran(timings: Sequence[Timing]) -> list[Timing]:
    return [timing for timing in timings if timing.sequences_per_s is not None]


def _headline(bench: Bench) -> str:
    ran = [(factor, t) for t, factor in zip(bench.timings, speedups(bench.timings), strict=True) if factor]
    if not ran:
        return "Nothing ran"
    factors = [pair for pair in ran if bench.agrees(pair[1])] or ran
    factor, best = max(factors, key=lambda pair: pair[0])
    first = next(t for t in bench.timings if workload_title(t) == workload_title(best) and t.sequences_per_s)
    return (
        f"{best.name} under {numbers.backend(best.backend)} is up to {factor:.1f}× as fast as "
        f"{first.name} under {numbers.backend(first.backend)}"
    )


def _explanation(scored: bool, floor: float | None, metric: Metric) -> str:
    every = "Wall-clock, all variants in one run, taking turns; padding counts as no work done."
    if scored:
        line = "The line joins the variants that no other beats in both speed and score"
        drawn = f"{every} {line}; of each model the fastest of them is named."
        far = "is off by a tenth more than" if metric.lower_is_better else "scores more than 10 points below"
        deep = f" What {far} the budget, the flat line, is in the table only."
        return drawn if floor is None else drawn + deep
    return f"{every} The factor is the speed against the first variant."


def _chart(bench: Bench, timings: list[Timing], scored: bool, floor: float | None) -> Chart:
    ran = _ran(timings)
    names = list(dict.fromkeys(timing.name for timing in bench.timings))
    title = workload_title(ran[0])
    title = title[:1].upper() + title[1:]
    if scored:
        return Chart(title, "The same figures are in the tables below.", 420, _scatter(bench, ran, names, floor))
    return Chart(title, "The same figures are in the table below.", 110 + 30 * len(ran), _bars(ran, names))


def _scatter(bench: Bench, ran: list[Timing], names: list[str], floor: float | None) -> Figure:
    """Sequences per second on a logarithmic axis, as variants differ by factors."""
    score = metric(next(s.metric for s in bench.scores if s.metric))
    points = [
        (t.sequences_per_s or 0.0, score.factor * found.score, t)
        for t in ran
        if (found := bench.score_of(t)) is not None and found.score is not None
    ]
    if floor is not None:
        deepest = score.rank(floor) - DEPTH * (floor if score.lower_is_better else 1)
        floor *= score.factor
        points = [point for point in points if score.rank(point[1]) >= score.factor * deepest]
    best = frontier([(x, score.rank(y)) for x, y, _ in points])
    named = {points[i][2].name: points[i][2].backend for i in best}  # the last, and so the fastest, of each model
    line = {
        "type": "scatter",
        "mode": "lines",
        "name": "frontier",
        "x": [points[i][0] for i in best],
        "y": [points[i][1] for i in best],
        "line": {"color": "@soft", "width": 1.5, "dash": "dot"},
        "hoverinfo": "skip",
        "showlegend": False,
    }
    names = [name for name in names if any(t.name == name for _, _, t in points)]
    series = [line, *(_points(name, index, points, named) for index, name in enumerate(names))]
    speeds = [math.log10(x) for x, _, _ in points]
    reach = [min(speeds) - 0.05, max(speeds) + 0.1 + 0.45 * (max(speeds) - min(speeds))]  # room for the last name
    layout = {
        "xaxis": {"type": "log", "title": {"text": "sequences per second"}, "dtick": "D2", "range": reach},
        "yaxis": {"title": {"text": score.name}},
        "showlegend": True,
    }
    if floor is not None:
        budget = {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": floor, "y1": floor}
        layout["shapes"] = [budget | {"line": {"color": "@soft", "width": 1}}]
    return {"data": [trace for trace in series if trace["x"]], "layout": layout}


def _points(
    name: str, index: int, points: Sequence[tuple[float, float, Timing]], named: dict[str, str]
) -> dict[str, Any]:
    own = [point for point in points if point[2].name == name]
    return {
        "type": "scatter",
        "mode": "markers+text",
        "name": name,
        "x": [x for x, _, _ in own],
        "y": [y for _, y, _ in own],
        "text": [t.backend if named.get(name) == t.backend else "" for _, _, t in own],
        "textposition": "top right",  # nothing lies there, or it would be on the frontier
        "cliponaxis": False,
        "customdata": [numbers.backend(t.backend) for _, _, t in own],
        "hovertemplate": "%{customdata}<br>%{x:.1f} sequences/s<br>%{y:.2f}",
        "marker": {"color": COLOURS[index % 5], "symbol": SYMBOLS[index // 5 % 5], "size": 10},
    }


def _bars(ran: list[Timing], names: list[str]) -> Figure:
    """A bar for each variant, the fastest on top."""
    factors = dict(zip(map(id, ran), speedups(ran), strict=True))
    order = sorted(ran, key=lambda timing: -(timing.sequences_per_s or 0))
    # Spaces without width: a back-end of one model must not fall on the bar of another's.
    label = {id(t): t.backend + ZERO_WIDTH * names.index(t.name) for t in ran}
    fastest = order[0].sequences_per_s or 0
    data = []
    for index, name in enumerate(names):
        own = [timing for timing in order if timing.name == name]
        data.append(
            {
                "type": "bar",
                "orientation": "h",
                "name": name,
                "x": [t.sequences_per_s for t in own],
                "y": [label[id(t)] for t in own],
                "text": [f"{numbers.count(t.sequences_per_s or 0)}/s ({factors[id(t)]:.2f}×)" for t in own],
                "textposition": "outside",
                "cliponaxis": False,
                "customdata": [[t.median_ms, t.p95_ms, t.runs] for t in own],
                "hovertemplate": "%{y}: %{customdata[0]:.2f} ms, p95 %{customdata[1]:.2f} ms, %{customdata[2]} runs",
                "marker": {"color": COLOURS[index % 5]},
            }
        )
    layout = {
        "barmode": "overlay",
        "bargap": 0.25,
        "xaxis": {"range": [0, 1.6 * fastest], "title": {"text": "sequences per second"}, "nticks": 5},
        "yaxis": {
            "autorange": "reversed",
            "categoryorder": "array",
            "categoryarray": [label[id(t)] for t in order],
            "showgrid": False,
            "ticksuffix": "  ",
        },
        "showlegend": True,
    }
    return {"data": [trace for trace in data if trace["x"]], "layout": layout}
