"""What the autopilot found, as JSON, as the card of the model and as a picture."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ..files import atomic_file
from ..hardware import hardware
from ..measure.bench.bench import Bench
from ..measure.bench.score import Score
from ..measure.significance import PairedTest
from ..pipeline.inputs import Inputs
from ..pipeline.results import task_info
from ..recipe.settings import Recipe
from ..report import headline, numbers
from ..report.bench_picture import Told, frontier, write_picture
from ..report.bench_tables import TextTable, workload_title
from ..report.card import render
from ..report.schema import Comparison, Headline, Step
from ..tasks.data import Task
from ..tasks.metric import Metric, metric, within
from .conclusion import conclude, seen_rows
from .confirmation import Confirmation
from .measurement import DENSE, Measurement
from .schedule.halving import Point, inside
from .schema import AutopilotReport, ConfirmationInfo, FileInfo, LookInfo, PointInfo


def assemble(
    recipe: Recipe,
    inputs: Inputs,
    points: Sequence[Point],
    measured: Sequence[Measurement],
    confirmed: Sequence[Confirmation],
    chosen: Measurement,
    tested: PairedTest,
    scores: tuple[float, float],
    *,
    balance: list[str],
    file: str,
    steps: Sequence[dict[str, Any]],
    looked: Sequence[Point] = (),
) -> AutopilotReport:
    """Put the report together. measured: those of the comparison, the reference first.

    confirmed: those tried. tested: the paired test. scores: there, of the dense model and of the file. balance: of its
    answers. looked: all candidates before training.
    """
    assert recipe.autopilot is not None
    settings, reference = recipe.autopilot, measured[0]
    files = [_file(one, reference, settings.max_drop) for one in measured if one.is_file]
    exact = {one.timing.name: one for one in reversed(measured)}  # fp32 comes first of each
    best = set(frontier([(1 / exact[p.name].ms, inputs.task.metric.rank(p.score or 0.0)) for p in points]))
    report = AutopilotReport(
        trimformer_version=version("trimformer"),
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        model=recipe.model,
        task=task_info(inputs),
        max_drop=settings.max_drop,
        min_speedup=settings.min_speedup,
        workload=workload_title(reference.timing),
        threads=reference.timing.threads,
        hardware=hardware(),
        reference=reference.timing.backend,
        reference_ms=reference.ms,
        looked=[
            LookInfo(
                name=p.name, removed=p.removed, ms=p.price, fitted=p.fitted, score=p.score or 0.0, drop=p.drop or 0.0
            )
            for p in looked
        ],
        points=[_point(p, exact[p.name], reference, settings.max_drop, i in best) for i, p in enumerate(points)],
        files=files,
        chosen=_file(chosen, reference, settings.max_drop),
        file=file,
        confirmations=confirmation_infos(confirmed, inputs.task.metric),
        comparison=test_info(inputs.task, tested),
        inside=within(inputs.task.metric.drop(tested.difference), settings.max_drop),
        balance=balance,
        headline=_headline(chosen, measured, scores, inputs.task.metrics[0], tested.n_examples, file),
        conclusion=[],
        steps=[Step.model_validate(step) for step in steps],
        notes=[*inputs.notes, *(seen_rows(inputs.task.kind) if inputs.has_trained_head else [])],
        recipe=recipe.model_dump(mode="json"),
    )
    return report.model_copy(update={"conclusion": conclude(report)})


def confirmation_infos(tried: Sequence[Confirmation], metric: Metric) -> list[ConfirmationInfo]:
    """What the confirmation rows said of those that were tried."""
    return [
        ConfirmationInfo(
            name=one.name,
            backend=one.backend,
            n_examples=one.test.n_examples,
            drop=metric.drop(one.test.difference),
            upper=one.upper,
            rows=one.rows,
            confirmed=one.confirmed,
            groups=one.test.groups,
        )
        for one in tried
    ]


def test_info(task: Task, test: PairedTest) -> Comparison:
    """The test on the validation rows."""
    return Comparison(metric=task.metrics[0], **dataclasses.asdict(test))


def _headline(
    chosen: Measurement,
    measured: Sequence[Measurement],
    scores: tuple[float, float],
    metric: str,
    n_examples: int,
    file: str,
) -> Headline:
    """From the reference to the chosen file, by the times of the dense model under what lies between. n_examples: of
    the rows that both scores are of.
    """
    reference, backend = measured[0], chosen.timing.backend
    dense = {one.timing.backend: one.ms for one in measured if one.timing.name == DENSE}
    steps = headline.steps(reference.timing.backend, backend, dense, chosen.ms)
    if chosen.timing.name == DENSE:
        steps["removal_factor"] = None
    return Headline(
        start=reference.timing.backend,
        start_ms=reference.ms,
        start_score=scores[0],
        backend=backend,
        file=file,
        ms=chosen.ms,
        score=scores[1],
        metric=metric,
        n_examples=n_examples,
        batch=chosen.timing.batch,
        length=chosen.timing.length,
        threads=chosen.timing.threads,
        early=chosen.timing.executed is not None,
        **steps,
    )


def _point(point: Point, measurement: Measurement, reference: Measurement, max_drop: float, best: bool) -> PointInfo:
    assert point.score is not None
    assert point.drop is not None
    return PointInfo(
        name=point.name,
        removed=point.removed,
        epochs=point.epochs,
        score=point.score,
        drop=point.drop,
        ms=measurement.ms,
        speedup=reference.ms / measurement.ms,
        inside=inside(point, max_drop),
        frontier=best,
        folder=f"points/{point.name}/model",
        layers=point.layers,
    )


def _file(measurement: Measurement, reference: Measurement, max_drop: float) -> FileInfo:
    return FileInfo(
        name=measurement.timing.name,
        backend=measurement.timing.backend,
        ms=measurement.ms,
        speedup=reference.ms / measurement.ms,
        score=measurement.score,
        drop=measurement.drop,
        inside=inside(measurement, max_drop),
        agreement=measurement.agreement,
        mended=measurement.mended,
        executed=measurement.timing.executed,
    )


def card(report: AutopilotReport, repo_name: str) -> str:
    """The README.md of the chosen model's folder."""
    point = next((point for point in report.points if point.name == report.chosen.name), None)
    return render(
        "search_card.md",
        report,
        repo_name,
        "autopilot",
        removed=(point.removed if point else "nothing").capitalize(),
        files=[file for file in report.files if file.name == report.chosen.name],
        exported=True,
        timed=True,
        numbers=numbers,
        metric=metric(report.task.metric),
    )


def point_tables(report: AutopilotReport) -> list[TextTable]:
    """All trained models, the fastest first; no table where there are none."""
    if not report.points:
        return []
    rows = [
        [f"{one.name}{' *' if one.frontier else ''}", one.removed, *figures(one, report.task.metric)]
        for one in sorted(report.points, key=lambda one: one.ms)
    ]
    title = (
        f"Models that were tried, in fp32 on the selection rows, {report.workload} (* no other is faster and better)"
    )
    return [
        TextTable(
            title,
            ["model", "removed", report.task.called_in_selection(report.task.metric), "drop", "ms", "speed"],
            rows,
        )
    ]


def figures(one: PointInfo | FileInfo, name: str) -> list[str]:
    """Score, drop, milliseconds and speed as people read them."""
    drop = metric(name).lost(one.drop, unit=False)
    return [numbers.hundredths(one.score, name), drop, f"{one.ms:.2f}", f"{one.speedup:.2f}x"]


def write(report: AutopilotReport, measured: Sequence[Measurement], folder: Path) -> None:
    """``autopilot.json``, the model's card, and ``frontier.html``: speed against score, as ``bench`` draws it."""
    with atomic_file(folder / "autopilot.json") as file:
        file.write_text(report.model_dump_json(indent=2), encoding="utf-8")
    with atomic_file(folder / "model" / "README.md") as file:
        file.write_text(card(report, f"{report.recipe['out']}/model"), encoding="utf-8")
    name, count = report.task.metric, report.task.n_selection
    scores = [
        Score(one.timing.name, one.timing.backend, name, one.score, count, agreement=one.agreement) for one in measured
    ]
    bench = Bench(report.hardware, report.threads, [one.timing for one in measured], [], [], scores, split="selection")
    exact = next(metric(name).after(one.score, -one.drop) for one in measured)
    floor = metric(name).after(exact, report.max_drop)
    told = Told("trimformer compress", report.conclusion, floor, point_tables(report))
    write_picture(bench, folder / "frontier.html", told)
