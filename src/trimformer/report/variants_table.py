"""The table of a report: the dense model against the trimmed one."""

from __future__ import annotations

import dataclasses
from typing import Any

from . import numbers
from .schema import Latency, Report


@dataclasses.dataclass(frozen=True)
class TableRow:
    """One line of the dense-vs-trimmed table, formatted; ``change`` is of trimmed against dense."""

    label: str
    dense: str
    trimmed: str
    change: str


def table(report: Report) -> list[TableRow]:
    """Dense vs trimmed: scores, weights, size, FLOPs, then the time of every setting with the speed-up.

    Beside each time stands the score of what was timed.
    """
    dense, trimmed = report.variant("dense"), report.variant("trimmed")
    rows: list[TableRow] = []

    def add(label: str, values: tuple[Any, Any], show: Any, change: Any) -> None:
        a, b = values
        if a is None and b is None:
            return
        cells = [numbers.NONE if value is None else show(value) for value in (a, b)]
        rows.append(TableRow(label, cells[0], cells[1], change(a, b) if None not in (a, b) else numbers.NONE))

    def both(field: str) -> tuple[Any, Any]:
        return getattr(dense, field, None), getattr(trimmed, field, None)

    metric = report.task.metric
    scores = [variant.scores if variant else {} for variant in (dense, trimmed)]
    add(
        report.task.score_name,
        both("score"),
        lambda a: numbers.score(a, metric),
        lambda a, b: numbers.points(b - a, metric),
    )
    for name in dict.fromkeys([*scores[0], *scores[1]]):
        if name != metric:
            add(
                report.task.called(name),
                (scores[0].get(name), scores[1].get(name)),
                lambda a, name=name: numbers.score(a, name),
                lambda a, b, name=name: numbers.points(b - a, name),
            )
    add("Weights", both("params"), numbers.count, numbers.percent_change)
    add("Size", both("bytes"), numbers.size, numbers.percent_change)
    lengths = {variant.flops_length for variant in (dense, trimmed) if variant}
    change = numbers.percent_change if len(lengths) == 1 else lambda a, b: numbers.NONE
    at = f" at {lengths.pop()} tokens" if len(lengths) == 1 else ""
    add(f"FLOPs{at}", both("flops_per_example"), numbers.count, change)

    if any(variant and variant.executed for variant in (dense, trimmed)):
        through = tuple(None if one is None else one.mean_executed or len(one.layers) for one in (dense, trimmed))
        add("Layers that a text goes through, mean", (through[0], through[1]), "{:.2f}".format, numbers.percent_change)

    times = [{entry.setting: entry for entry in variant.latency_ms} if variant else {} for variant in (dense, trimmed)]
    settings = list(dict.fromkeys([*times[0], *times[1]]))
    several_threads = len({threads for *_, threads in settings}) > 1
    for setting in settings:
        backend, batch, length, threads = setting
        label = f"{numbers.backend(backend)}, batch {batch}, {length} tokens"
        if several_threads:
            label += f", {threads} threads"
        add(label, (times[0].get(setting), times[1].get(setting)), lambda a: _time(a, metric), _speedup)
    return rows


def _time(entry: Latency, metric: str) -> str:
    score = "not scored" if entry.score is None else numbers.score(entry.score, metric)
    return f"{numbers.milliseconds(entry.ms)} ({score})"


def _speedup(before: Latency, after: Latency) -> str:
    return numbers.speedup(before.ms, after.ms)
