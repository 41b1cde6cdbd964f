"""From two model folders to the numbers of the report: scores, paired test, cost, latency, exports."""

from __future__ import annotations

import dataclasses
import datetime
import itertools
import shutil
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from typing_extensions import TypedDict

from ..cores import usable_cores
from ..deploy.agreement import agrees, percent
from ..deploy.export import export_all, own_threshold
from ..deploy.scoring import Judge, agreement_of, as_model
from ..encoder.checkpoints.load import load_tokenizer, load_with_head
from ..encoder.shape.kinds import ATTENTION
from ..files import atomic_folder
from ..hardware import hardware
from ..inference.runtimes.backends import FILE_BACKENDS, file_in
from ..measure.bench.latency import make_workloads, time_variants
from ..measure.bench.process import disk_bytes
from ..measure.bench.variants import Model, Variant, make_variants
from ..measure.cost import cost, mean_flops
from ..measure.significance import paired_test
from ..methods import METHODS
from ..recipe.settings import ExportSettings, MeasureSettings, Recipe
from ..report import headline, numbers
from ..report.card import model_card
from ..report.report import write_report
from ..report.schema import (
    Comparison,
    ControlInfo,
    Curve,
    CurvePoint,
    ExportInfo,
    Latency,
    LayerInfo,
    ModelInfo,
    Report,
    Step,
    TaskInfo,
    TrainingInfo,
)
from ..saved.exits import executed_words
from ..tasks.balance import balance_notes
from ..tasks.data import Task
from ..tasks.encoding.encoded import Encoded
from ..tasks.outcome import Outcome, outcome
from ..threads import torch_threads
from ..training.evaluate import Executed, on_fastest, predict_logits
from .inputs import Inputs

NAMES = ("dense", "trimmed")


class Measured(TypedDict):
    """What is written down of :func:`measure`."""

    variants: list[ModelInfo]
    comparison: Comparison
    control: ControlInfo | None
    notes: list[str]


def measure(
    settings: MeasureSettings,
    task: Task,
    dense: tuple[Path, Encoded],
    trimmed: tuple[Path, Encoded],
    exports: Path,
    control: tuple[Path, Encoded] | None = None,
) -> dict[str, Any]:
    """Score, cost and latency of both models, the paired test between them, and what to be warned of, as JSON values.

    A control, which is the dense model trained on, is scored and tested, too. All are given as the folder of a model
    and the validation rows as its tokenizer encodes them. Scores are those of the saved weights in fp32. Latency is
    measured interleaved in one run, without a length at those of the dense model's rows; where texts may leave the
    trimmed model early, both are timed on its rows, sorted by length, and the mean over them counts. exports: the
    folder of the trimmed model's files; those that are there are timed and scored as they are, others are written for
    that alone.
    """
    lengths = settings.length or default_lengths(dense[1])
    given = dict(zip(NAMES, (dense, trimmed), strict=True))
    models = {name: load_with_head(folder) for name, (folder, _) in given.items()}
    variants, outcomes, exact = [], {}, {}
    for name, model in models.items():
        validation = given[name][1]
        counted = Executed(on_fastest(model))
        exact[name] = predict_logits(counted, validation, title=f"Scoring {name}")
        found = outcomes[name] = outcome(task, validation, exact[name])
        variants.append(
            describe(model, given[name][0], name, lengths[0], task.metrics[0], found.scores, len(found.answers))
        )
        if counted.counts is not None:
            variants[-1].executed = counted.counts
            variants[-1].flops_per_example = mean_flops(model.config, lengths[0], type(model), counted.counts)
    threads = settings.threads or usable_cores()
    with tempfile.TemporaryDirectory() as folder, torch_threads(threads):
        timed = [
            *make_variants({"dense": models["dense"]}, settings.backends, threads, Path(folder) / "dense"),
            *_of_trimmed(models["trimmed"], settings.backends, threads, Path(folder) / "trimmed", exports),
        ]
        sizes = list(itertools.product(settings.batch, lengths))
        early = any(one.executed is not None for one in timed)
        if early:
            timed = [one for one in timed if _reads(one, trimmed[1])]
        workloads = make_workloads(timed, sizes, trimmed[1] if early else None)
        sorted_ones = [one for one in workloads if one.lengths != "padded" or one.batch == 1]
        timings = time_variants(timed, sorted_ones, threads=threads)
        judged = {
            (one.name, one.backend): _judged(one, task, given[one.name][1], exact[one.name], outcomes[one.name])
            for one in timed
        }
    for variant in variants:
        variant.latency_ms = [
            Latency(
                backend=t.backend,
                batch=t.batch,
                length=t.length,
                median=t.median_ms,
                p95=t.p95_ms,
                mean=t.mean_ms if early else None,
                runs=t.runs,
                threads=t.threads,
                score=judged[t.name, t.backend][0],
                label_agreement=judged[t.name, t.backend][1],
            )
            for t in timings
            if t.name == variant.name and t.median_ms is not None and t.p95_ms is not None
        ]

    def compared(other: Outcome) -> Comparison:
        test = paired_test(other, outcomes["trimmed"], settings.resamples)
        return Comparison(metric=task.metrics[0], **dataclasses.asdict(test))

    beside = None
    if control is not None:
        logits = predict_logits(on_fastest(load_with_head(control[0])), control[1], title="Scoring control")
        found = outcome(task, control[1], logits)
        score = found.scores[task.metrics[0]]
        beside = ControlInfo(score=score, scores=found.scores, comparison=compared(found))
    return {
        "variants": [variant.model_dump(mode="json") for variant in variants],
        "comparison": compared(outcomes["dense"]).model_dump(mode="json"),
        "control": None if beside is None else beside.model_dump(mode="json"),
        "notes": [
            *balance_notes(task, {f"The {name} model": found for name, found in outcomes.items()}, "validation"),
            *dict.fromkeys(f"Under {t.backend}: {executed_words(t.executed)}" for t in timings if t.executed),
        ],
    }


def _reads(variant: Variant, data: Encoded) -> bool:
    """Whether a model knows the ids of these rows, which the tokenizer of another one may have made."""
    config = variant.config
    if config is None:
        return True
    return int(data.ids.max()) < config.vocab_size and int(data.lengths.max()) <= config.max_tokens


def _of_trimmed(model: Model, backends: list[str], threads: int, folder: Path, exports: Path) -> list[Variant]:
    """The trimmed model under the back-ends; ``folder`` takes what is not among the exports yet."""
    made = []
    for backend in backends:
        file = file_in(exports, backend, model.config.exits) if backend in FILE_BACKENDS else None
        source = file if file is not None and file.is_file() else model
        made += make_variants({"trimmed": source}, [backend], threads, folder)
    return made


def _judged(
    variant: Variant, task: Task, data: Encoded, exact: np.ndarray, known: Outcome
) -> tuple[float | None, float | None]:
    """The score of what was timed, and its agreement with PyTorch in fp32; None for stock and compiled models."""
    if variant.backend == "torch":
        return known.scores[task.metrics[0]], 1.0
    if variant.run is None or variant.backend not in FILE_BACKENDS:
        return None, None
    logits = predict_logits(as_model(variant.run), data, title=f"Scoring {variant.name}, {variant.backend}")
    return outcome(task, data, logits).scores[task.metrics[0]], agreement_of(variant.session, data, exact, logits)


def default_lengths(data: Encoded) -> list[int]:
    """The data's own mean length, rounded up to a multiple of 8, and its longest text."""
    mean, longest = int(np.ceil(np.mean(data.lengths) / 8) * 8), int(np.max(data.lengths))
    return sorted({mean, max(mean, longest)})


def describe(
    model: Any, folder: Path, name: Any, length: int, metric: str, scores: dict[str, float], n_examples: int
) -> ModelInfo:
    """A variant of the report without latency. folder: where it is saved."""
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
        bytes=disk_bytes(folder),
        flops_per_example=counted.flops,
        flops_length=length,
        layers=layers,
    )


def export_model(
    settings: ExportSettings,
    trimmed: Path,
    folder: Path,
    task: Task,
    validation: Encoded,
    train: Encoded,
    selection: Encoded,
) -> list[ExportInfo]:
    """Write the ONNX files beside the model; parity is checked there, and each is scored by its own answers.

    train: rows by which maps are found that int8 would cost answers. selection: those by which the threshold of exits
    is chosen.
    """
    if not settings.onnx:
        return []
    backends = ("onnx", "onnx-int8") if settings.int8 else ("onnx",)
    model = load_with_head(trimmed)
    on_fastest(model)
    judge = Judge(model, task, validation, train, selection)
    files = export_all(model, folder, backends, load_tokenizer(trimmed), judge)
    return [
        ExportInfo(
            file=f"{folder.name}/{file.path.name}",
            bytes=file.bytes,
            precision=file.precision,
            max_abs_error=file.max_abs_error,
            label_agreement=file.agreement,
            score=file.score,
            kept=[] if file.mended is None else list(file.mended.kept),
            agreement_before=None if file.mended is None else file.mended.before,
            threshold=file.threshold,
        )
        for file in files
    ]


def notes_of(exported: list[ExportInfo], metric: str) -> list[str]:
    """A sentence for each file that should not be used in place of the fp32 one, or has maps in fp32 so that it can,
    and for each whose texts leave at a threshold of its own.

    metric: that of the scores.
    """

    def shown(one: ExportInfo) -> str:
        return numbers.hundredths(one.score or 0.0, metric)

    notes = [own_threshold(one.file, one.threshold) for one in exported if one.threshold is not None]
    for one in exported:
        if one.label_agreement is None:
            continue
        if not agrees(one.label_agreement):
            notes.append(
                f"WARNING: {one.file} answers only {percent(one.label_agreement)} of the validation rows as the fp32 "
                f"file does, and has {metric} {shown(one)} for {shown(exported[0])}: use the fp32 file."
            )
        elif one.agreement_before is not None:
            notes.append(
                f"{one.file}: the maps {', '.join(one.kept)} stay in fp32, and it answers "
                f"{percent(one.label_agreement)} of the validation rows as the fp32 file does; with all maps in int8 "
                f"these were {percent(one.agreement_before)}."
            )
    return notes


def assemble(
    recipe: Recipe,
    *,
    inputs: Inputs,
    measured: dict[str, Any],
    exported: list[ExportInfo],
    stages: dict[str, dict[str, Any]],
    training: TrainingInfo,
    steps: list[dict[str, Any]],
    notes: list[str],
    trimmed: Path,
    folder: Path,
) -> Report:
    """Put the report together and write it, the model and its card into the run's folder."""
    machine = hardware()
    variants = [_scored(variant, recipe, inputs) for variant in measured["variants"]]
    before, after = variants
    report = Report(
        trimformer_version=version("trimformer"),
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        model=recipe.model,
        task=task_info(inputs),
        method=method_label(recipe),
        student=student_of(recipe),
        hardware=machine,
        variants=variants,
        headline=headline.find(before, after, exported, gpu="gpu" in machine),
        comparison=None if None in (before.score, after.score) else measured["comparison"],
        training=training,
        control=measured["control"],
        steps=[Step.model_validate(step) for step in steps],
        training_cost={
            f"{name}: {part}": seconds for name, info in stages.items() for part, seconds in info["clock"].items()
        },
        curves=[
            Curve(stage=name, name=curve, points=[CurvePoint(step=step, value=value) for step, value in points])
            for name, info in stages.items()
            for curve, points in info["history"].items()
        ],
        augmentation={name: info["augmentation"] for name, info in stages.items() if "augmentation" in info},
        subnetworks={name: info["subnetworks"] for name, info in stages.items() if "subnetworks" in info},
        positions={name: info["positions"] for name, info in stages.items() if "positions" in info},
        exits={name: info["exits"] for name, info in stages.items() if "exits" in info},
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


def _scored(variant: ModelInfo, recipe: Recipe, inputs: Inputs) -> ModelInfo:
    """The model without its score, where nobody has trained its masked-LM head, whose answers say nothing of it."""
    objectives = [stage.objective for stage in recipe.stages]
    taught = any(term.reads_answers and getattr(one, term.name) for one in objectives for term in one.terms)
    if inputs.task.kind != "masked-lm" or inputs.has_trained_head or (variant.name == "trimmed" and taught):
        return variant
    times = [time.model_copy(update={"score": None, "label_agreement": None}) for time in variant.latency_ms]
    return variant.model_copy(update={"score": None, "scores": {}, "latency_ms": times})


def task_info(inputs: Inputs) -> TaskInfo:
    """What a report says of the task and its data."""
    task = inputs.task
    return TaskInfo(
        name=task.name,
        kind=task.kind,
        labels=list(task.labels),
        source=task.source,
        n_train=len(inputs.train.examples),
        n_unlabelled=0 if inputs.unlabelled is None else len(inputs.unlabelled),
        n_selection=len(inputs.selection.examples),
        n_validation=len(inputs.validation.examples),
        metric=task.metrics[0],
        pseudo_labels=task.pseudo_labels,
        labelled_validation=task.labelled_validation,
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


def student_of(recipe: Recipe) -> str:
    """What the last model is that a stage has begun anew, where it is no part of the dense one; else empty."""
    begun = [stage.start.student for stage in recipe.stages if stage.start.name != "previous"]
    return begun[-1] if begun else ""
