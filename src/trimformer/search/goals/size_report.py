"""What a search for the smallest model found, as JSON, as the card of the model and as a picture."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ...files import atomic_file
from ...hardware import hardware
from ...pipeline.inputs import Inputs
from ...pipeline.results import task_info
from ...recipe.settings import Recipe
from ...report import numbers
from ...report.bench_picture import frontier
from ...report.bench_tables import TextTable
from ...report.card import render
from ...report.schema import Step
from ...report.size_picture import Sized, write_size_picture
from ...tasks.metric import metric, within
from ..conclusion import above, confirmed, in_time, lost, option, seen_rows, trained, validated
from ..confirmation import Confirmation
from ..measurement import DENSE
from ..report import confirmation_infos, test_info
from ..schedule.halving import Point, inside
from ..schema import SizeInfo, SizeReport
from .base import Tested
from .forms import FORMS


def assemble(
    recipe: Recipe,
    inputs: Inputs,
    dense: Point,
    points: Sequence[Point],
    tried: Sequence[Confirmation],
    chosen: Point,
    tested: Tested,
    *,
    steps: Sequence[dict[str, Any]],
) -> SizeReport:
    """Put the report together. points: all that were scored but the dense model. tried: on the confirmation rows."""
    settings, rank = recipe.autopilot, inputs.task.metric.rank
    assert settings is not None
    assert settings.max_size is not None
    every = [dense, *sorted(points, key=lambda one: one.price)]
    best = frontier([(1 / one.price, rank(one.score or 0.0)) for one in every])
    infos = [_info(one, settings.max_drop, place in best) for place, one in enumerate(every)]
    taken = next(one for one in infos if one.name == chosen.name)
    fits = within(inputs.task.metric.drop(tested.test.difference), settings.max_drop)
    report = SizeReport(
        trimformer_version=version("trimformer"),
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        model=recipe.model,
        task=task_info(inputs),
        max_drop=settings.max_drop,
        max_size=settings.max_size,
        hardware=hardware(),
        dense=infos[0],
        points=infos[1:],
        chosen=taken.model_copy(update={"folder": "model"}),
        confirmations=confirmation_infos(tried, inputs.task.metric),
        comparison=test_info(inputs.task, tested.test),
        inside=fits and taken.bytes <= settings.max_size,
        balance=tested.balance,
        conclusion=[],
        steps=[Step.model_validate(step) for step in steps],
        notes=[*inputs.notes, *(seen_rows(inputs.task.kind) if inputs.has_trained_head else [])],
        recipe=recipe.model_dump(mode="json"),
    )
    return report.model_copy(update={"conclusion": conclude(report)})


def _info(point: Point, max_drop: float, best: bool) -> SizeInfo:
    assert point.score is not None
    assert point.drop is not None
    return SizeInfo(
        name=point.name,
        removed=point.removed,
        epochs=point.epochs,
        fitted=point.fitted,
        bytes=int(point.price),
        score=point.score,
        drop=point.drop,
        inside=inside(point, max_drop),
        frontier=best,
        folder=f"points/{point.name}/model" if point.folder else "dense/model",
    )


def conclude(report: SizeReport) -> list[str]:
    """What was reached, whether it is small enough, and whether it holds on rows that chose nothing."""
    chosen = report.chosen
    what = "The dense model" if chosen.name == DENSE else chosen.name
    return [
        f"{what} takes {numbers.size(chosen.bytes)} with configuration and tokenizer, {_share(report, chosen)} of the "
        f"{numbers.size(report.dense.bytes)} of the dense model.",
        _asked_for(report),
        *confirmed(report, chosen.drop, "smaller model"),
        *([] if chosen.name.partition("-")[0] == DENSE else [trained(chosen.epochs, chosen.fitted)]),
        *in_time(report, [point.epochs for point in report.points]),
        validated(report, same=chosen.name == DENSE),
        *report.balance,
    ]


def _asked_for(report: SizeReport) -> str:
    """Whether it is as small as was asked for, and what that takes."""
    asked = numbers.size(report.max_size)
    if report.chosen.bytes <= report.max_size:
        return f"That is no more than the {asked} asked for."
    enough = [one for one in report.points if one.bytes <= report.max_size]
    said = f"That is more than the {asked} asked for"
    if not enough:
        return f"{said}, which nothing that was looked at reached."
    if any(one.inside for one in enough):
        return f"{said}: what was small enough was not confirmed."
    nearest = min(enough, key=lambda one: one.drop)
    return (
        f"{said}: {nearest.name} ({nearest.folder}) has {numbers.size(nearest.bytes)} and loses "
        f"{lost(report, nearest.drop)} on the selection rows: it takes {option(report)} {above(nearest.drop)}."
    )


def _share(report: SizeReport, one: SizeInfo) -> str:
    return f"{100 * one.bytes / report.dense.bytes:.1f} %"


def size_table(report: SizeReport, described: bool = True) -> TextTable:
    """The dense model and all that were scored, the smallest first. described: with what was removed of each, for which
    80 columns have no room."""
    name = report.task.metric
    every = sorted([*report.points, report.dense], key=lambda one: one.bytes)
    rows = [
        [
            f"{one.name}{' *' if one.frontier else ''}",
            *([one.removed] if described else []),
            numbers.hundredths(one.score, name),
            metric(name).lost(one.drop, unit=False),
            numbers.size(one.bytes),
            _share(report, one),
        ]
        for one in every
    ]
    names = ["model", *(["removed or written in"] if described else [])]
    header = [*names, report.task.called_in_selection(name), "drop", "size", "of dense"]
    return TextTable("Models on the selection rows (* no other is smaller and better)", header, rows)


def write(report: SizeReport, folder: Path) -> None:
    """``autopilot.json``, the model's card, and ``frontier.html``: size against score."""
    with atomic_file(folder / "autopilot.json") as file:
        file.write_text(report.model_dump_json(indent=2), encoding="utf-8")
    with atomic_file(folder / "model" / "README.md") as file:
        file.write_text(card(report, f"{report.recipe['out']}/model"), encoding="utf-8")
    every = [Sized(one.name, one.bytes, one.score, one.frontier) for one in (report.dense, *report.points)]
    floor = metric(report.task.metric).after(report.dense.score, report.max_drop)
    write_size_picture(
        folder / "frontier.html",
        every,
        report.task.metric,
        floor=floor,
        limit=report.max_size,
        sentences=report.conclusion,
        tables=[size_table(report)],
    )


def card(report: SizeReport, repo_name: str) -> str:
    """The README.md of the chosen model's folder."""
    return render(
        "size_card.md",
        report,
        repo_name,
        "autopilot",
        removed=report.chosen.removed.capitalize(),
        files=[],
        exported=False,
        timed=False,
        packed=any(report.chosen.name.endswith(f"-{form.name}") for form in FORMS),
        numbers=numbers,
        metric=metric(report.task.metric),
    )
