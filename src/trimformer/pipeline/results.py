"""From two model folders to the numbers of the report: scores, paired test, cost, latency, exports."""

from __future__ import annotations

import datetime
import shutil
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from ..cores import usable_cores
from ..deploy.export import export
from ..encoder.checkpoints.load import load, load_tokenizer, load_with_head
from ..encoder.shape.kinds import ATTENTION
from ..files import atomic_folder
from ..hardware import hardware
from ..inference.runtimes.backends import open_backend
from ..measure.bench.latency import benchmark
from ..measure.bench.score import as_model
from ..measure.cost import cost
from ..measure.significance import paired_bootstrap
from ..methods import METHODS
from ..recipe.settings import ExportSettings, MeasureSettings, Recipe
from ..report.card import model_card
from ..report.report import write_report
from ..report.schema import (
    Comparison,
    Curve,
    CurvePoint,
    ExportInfo,
    Latency,
    LayerInfo,
    ModelInfo,
    Report,
    Step,
    TaskInfo,
)
from ..tasks.balance import balance_notes
from ..tasks.data import Task
from ..tasks.encoding.encoded import Encoded
from ..tasks.outcome import outcome
from ..training.evaluate import on_fastest, predict_logits
from .inputs import Inputs

NAMES = ("dense", "trimmed")
LEAST_AGREEMENT = 0.98
"""A file that answers fewer rows as the fp32 file does is warned of."""


def measure(
    settings: MeasureSettings, task: Task, dense: tuple[Path, Encoded], trimmed: tuple[Path, Encoded]
) -> dict[str, Any]:
    """Score, cost and latency of both models, the paired test between them, and what to be warned of, as JSON values.

    dense, trimmed: the folder of a model, and the validation rows as its tokenizer encodes them. Scores are those of
    the saved weights in fp32. Latency is measured interleaved in one run, without a length at those of the dense
    model's rows.
    """
    lengths = settings.length or default_lengths(dense[1])
    given = dict(zip(NAMES, (dense, trimmed), strict=True))
    models = {name: load_with_head(folder) for name, (folder, _) in given.items()}
    variants, outcomes = [], {}
    for name, model in models.items():
        validation = given[name][1]
        logits = predict_logits(on_fastest(model), validation, title=f"Scoring {name}")
        found = outcomes[name] = outcome(task, validation, logits)
        variants.append(describe(model, name, lengths[0], task.metrics[0], found.scores, len(found.answers)))
    timings = benchmark(
        models,
        batch=settings.batch,
        length=lengths,
        threads=settings.threads or usable_cores(),
        backends=settings.backends,
    )
    for variant in variants:
        variant.latency_ms = [
            Latency(
                backend=t.backend,
                batch=t.batch,
                length=t.length,
                median=t.median_ms,
                p95=t.p95_ms,
                runs=t.runs,
                threads=t.threads,
            )
            for t in timings
            if t.name == variant.name and t.median_ms is not None and t.p95_ms is not None
        ]
    first, second = outcomes["dense"], outcomes["trimmed"]
    test = paired_bootstrap(first.metric, first.answers, second.answers, first.truth, settings.resamples)
    comparison = Comparison(
        metric=task.metrics[0],
        difference=test.difference,
        low=test.low,
        high=test.high,
        p_value=test.p_value,
        n_examples=test.n_examples,
        resamples=test.resamples,
    )
    return {
        "variants": [variant.model_dump(mode="json") for variant in variants],
        "comparison": comparison.model_dump(mode="json"),
        "notes": balance_notes(task, {f"The {name} model": found for name, found in outcomes.items()}, "validation"),
    }


def default_lengths(data: Encoded) -> list[int]:
    """The data's own mean length, rounded up to a multiple of 8, and its longest text."""
    mean, longest = int(np.ceil(np.mean(data.lengths) / 8) * 8), int(np.max(data.lengths))
    return sorted({mean, max(mean, longest)})


def describe(model: Any, name: Any, length: int, metric: str, scores: dict[str, float], n_examples: int) -> ModelInfo:
    """A variant of the report without latency."""
    counted = cost(model, length)
    layers = [
        LayerInfo(
            index=index,
            attention=shape.attention,
            about=ATTENTION[shape.attention].about,
            attends=ATTENTION[shape.attention].attends,
            heads=shape.heads if ATTENTION[shape.attention].attends else 0,
            ffn=shape.ffn,
            params=layer.params,
            flops=layer.flops,
        )
        for index, (shape, layer) in enumerate(zip(model.config.shapes, counted.layers, strict=True))
    ]
    return ModelInfo(
        name=name,
        score=scores[metric],
        metric=metric,
        scores=scores,
        n_examples=n_examples,
        params=counted.params,
        bytes=counted.bytes,
        flops_per_example=counted.flops,
        flops_length=length,
        layers=layers,
    )


def export_model(
    settings: ExportSettings, trimmed: Path, folder: Path, task: Task, validation: Encoded
) -> list[ExportInfo]:
    """Write the ONNX files beside the model; parity is checked there, and each is scored by its own answers."""
    if not settings.onnx:
        return []
    precisions = ("fp32", "int8") if settings.int8 else ("fp32",)
    files = export(load(trimmed), folder, precision=precisions, tokenizer=load_tokenizer(trimmed))
    found = []
    for file in files:
        session = open_backend(file.path, file.backend)
        logits = predict_logits(as_model(session.run), validation, title=f"Scoring {file.path.name}")
        found.append(outcome(task, validation, logits))
    return [
        ExportInfo(
            file=f"{folder.name}/{file.path.name}",
            bytes=file.bytes,
            precision=file.precision,
            max_abs_error=file.max_abs_error,
            label_agreement=None if task.kind == "regression" else _agreement(found[0].answers, one.answers),
            score=one.scores[task.metrics[0]],
        )
        for file, one in zip(files, found, strict=True)
    ]


def _agreement(first: np.ndarray, second: np.ndarray) -> float:
    """Share of the rows with equal answers."""
    return float((first == second).reshape(len(first), -1).all(axis=1).mean())


def warnings_of(exported: list[ExportInfo]) -> list[str]:
    """A sentence for each file that should not be used in place of the fp32 one."""
    return [
        f"WARNING: {one.file} answers only {100 * one.label_agreement:.1f} % of the validation rows as the fp32 file "
        f"does, and scores {100 * (one.score or 0):.2f} for {100 * (exported[0].score or 0):.2f}: use the fp32 file."
        for one in exported
        if one.label_agreement is not None and one.label_agreement < LEAST_AGREEMENT
    ]


def assemble(
    recipe: Recipe,
    *,
    inputs: Inputs,
    measured: dict[str, Any],
    exported: list[ExportInfo],
    stages: dict[str, dict[str, Any]],
    steps: list[dict[str, Any]],
    notes: list[str],
    trimmed: Path,
    folder: Path,
) -> Report:
    """Put the report together and write it, the model and its card into the run's folder."""
    report = Report(
        trimformer_version=version("trimformer"),
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        model=recipe.model,
        task=task_info(inputs),
        method=method_label(recipe),
        hardware=hardware(),
        variants=[ModelInfo.model_validate(variant) for variant in measured["variants"]],
        comparison=Comparison.model_validate(measured["comparison"]),
        steps=[Step.model_validate(step) for step in steps],
        training_cost={
            f"{name}: {part}": seconds for name, info in stages.items() for part, seconds in info["clock"].items()
        },
        curves=[
            Curve(stage=name, name=curve, points=[CurvePoint(step=step, value=value) for step, value in points])
            for name, info in stages.items()
            for curve, points in info["history"].items()
        ],
        export=exported,
        recipe=recipe.model_dump(mode="json"),
        notes=notes,
    )
    model = folder / "model"
    with atomic_folder(model) as temporary:  # a copy: where this step is cut, the run can still be resumed
        shutil.copytree(trimmed, temporary, dirs_exist_ok=True)
        (temporary / "README.md").write_text(model_card(report, f"{recipe.out}/model"), encoding="utf-8")
    write_report(report, folder)
    return report


def task_info(inputs: Inputs) -> TaskInfo:
    """What a report says of the task and its data."""
    task = inputs.task
    return TaskInfo(
        name=task.name,
        kind=task.kind,
        labels=list(task.labels),
        source=task.source,
        n_train=len(inputs.train.examples),
        n_selection=len(inputs.selection.examples),
        n_validation=len(inputs.validation.examples),
        metric=task.metrics[0],
    )


def method_label(recipe: Recipe) -> str:
    """What makes the model smaller, in the order of the stages; the first method where nothing does."""
    words = [
        label
        for stage in recipe.stages
        for label in (stage.start.label, stage.method.label if METHODS[stage.method.name].decides else "")
        if label
    ]
    return " + ".join(words or [recipe.stages[0].method.label])
