"""Verbs that run a job on data: compress, demo, run, evaluate."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from ..console import console, output, print_table
from ..errors import TrimformerError
from .options import (
    Batch,
    BatchSize,
    Control,
    Data,
    Epochs,
    Json,
    Keep,
    KeepWhole,
    Kind,
    Label,
    Length,
    MaxDrop,
    MaxLength,
    Method,
    MinSpeedup,
    Model,
    Out,
    Rate,
    Ray,
    ReplaceBy,
    Resume,
    Scheme,
    Seed,
    Storage,
    Stride,
    Tags,
    Target,
    TaskName,
    Text,
    TextPair,
    TimeBudget,
    TrainFile,
    TrainLimit,
    Truncation,
    ValidationFile,
    method_settings,
    task_settings,
    validated,
)


@contextlib.contextmanager
def resumable(out: Path) -> Iterator[None]:
    """After Ctrl-C, say how to go on."""
    from ..pipeline.run_folder import partial_folder, resume_command

    try:
        yield
    except KeyboardInterrupt as error:
        if (partial_folder(out) / "recipe.yaml").is_file():
            console.print(f"Stopped; what is done is saved. Go on with: {resume_command(out)}", soft_wrap=True)
        raise typer.Exit(130) from error


def _compress(
    model: str,
    task: Any,
    method: dict[str, Any],
    training: dict[str, Any],
    out: Path,
    seed: int,
    resume: bool,
    as_json: bool,
) -> None:
    from ..recipe.standard import standard_recipe
    from ..training.settings import TrainingSettings

    settings = validated(TrainingSettings, {key: value for key, value in training.items() if value is not None})
    recipe = standard_recipe(model, task, str(out), method=method_settings(method), training=settings, seed=seed)
    _run(recipe, resume, as_json)


def _autopilot(
    model: str,
    task: Any,
    budget: dict[str, Any],
    measured: dict[str, Any],
    training: dict[str, Any],
    out: Path,
    seed: int,
    resume: bool,
    as_json: bool,
) -> None:
    from ..recipe.settings import AutopilotSettings, MeasureSettings
    from ..recipe.standard import autopilot_recipe
    from ..training.settings import TrainingSettings

    budget = {key: value for key, value in budget.items() if value is not None}
    validated(AutopilotSettings, budget)
    validated(MeasureSettings, {key: [value] for key, value in measured.items() if value is not None})
    settings = validated(TrainingSettings, {key: value for key, value in training.items() if value is not None})
    recipe = autopilot_recipe(
        model, task, str(out), budget=budget, batch=measured["batch"] or 1, length=measured["length"],
        training=settings, seed=seed,
    )  # fmt: skip
    _run(recipe, resume, as_json)


def _run(recipe: Any, resume: bool, as_json: bool) -> None:
    """The stages of a recipe, or its autopilot."""
    from ..pipeline.run import run
    from ..search.run import run as search

    out = Path(recipe.out)
    with resumable(out):
        if recipe.autopilot is not None:
            found = search(recipe, resume=resume)
        else:
            report = run(recipe, resume=resume)
    if recipe.autopilot is not None:
        show_search(found, out, as_json)
    else:
        show_report(report, out, as_json)


def show_search(report: Any, out: Path, as_json: bool) -> None:
    """What was trained, what the best was exported to, and the conclusion in the terminal; or the report as JSON."""
    from ..search.report import figures, point_tables

    if as_json:
        print(report.model_dump_json(indent=2))
        return
    for points in point_tables(report):
        print_table(points.header, points.rows, points.title)
    files = [
        (one.name, one.backend, *figures(one))
        for one in sorted(report.files, key=lambda one: one.ms)
        if one.name in ("dense", report.chosen.name)
    ]
    title = f"Files on the selection rows (speed: over {report.reference} of the dense model)"
    print_table(["model", "backend", report.task.metric, "drop", "ms", "speed"], files, title)
    for line in (*report.conclusion, *report.notes):
        output.print(line, markup=False, soft_wrap=True)
    output.print(f"Use it: trimformer predict {out / 'model'} --backend {report.chosen.backend}", soft_wrap=True)
    output.print(f"Model, file, all trained models, picture: {out}  (open {out / 'frontier.html'})", soft_wrap=True)


def show_report(report: Any, out: Path, as_json: bool) -> None:
    """Dense against trimmed in the terminal, or the whole report as JSON."""
    from ..report.schema import table

    if as_json:
        print(report.model_dump_json(indent=2))
        return
    rows = [dataclasses.astuple(row) for row in table(report)]
    removed = ", ".join(map(str, report.removed_layers())) or "none"
    print_table(["", "dense", "trimmed", "change"], rows, f"Attention removed from layers: {removed}")
    output.print(f"Model, ONNX files and report: {out}  (open {out / 'report.html'})", soft_wrap=True)


def compress(
    model: Model,
    out: Out,
    task: TaskName = "custom",
    data: Data = None,
    train: TrainFile = None,
    validation: ValidationFile = None,
    text: Text = None,
    text_pair: TextPair = None,
    label: Label = None,
    kind: Kind = "auto",
    tags: Tags = None,
    scheme: Scheme = None,
    max_length: MaxLength = 128,
    truncation: Truncation = "head",
    stride: Stride = 64,
    train_limit: TrainLimit = None,
    max_drop: MaxDrop = None,
    min_speedup: MinSpeedup = None,
    batch: Batch = None,
    length: Length = None,
    time_budget: TimeBudget = None,
    storage: Storage = None,
    ray: Ray = None,
    method: Method = None,
    keep_layers: Keep = None,
    keep: KeepWhole = None,
    target: Target = None,
    replace_by: ReplaceBy = None,
    control: Control = None,
    epochs: Epochs = None,
    learning_rate: Rate = None,
    batch_size: BatchSize = None,
    seed: Seed = 0,
    resume: Resume = False,
    json_: Json = False,
) -> None:
    """Remove what the task does not need, fine-tune, measure, export and report: by a method, or within a budget.

    Examples:

    `trimformer compress my-model/ --train train.csv --text review --label stars --max-drop 0.5 --out runs/mine`

    `trimformer compress bert-base-uncased --task sst2 --data glue/ --keep-layers 4 --out runs/sst2`

    `trimformer compress my-model/ --train train.csv --text review --label stars --out runs/mine`
    """
    settings = task_settings(
        name=task, data=data, train=train, validation=validation, text=text, text_pair=text_pair,
        label=label, kind=kind, tags=tags, scheme=scheme, max_length=max_length, truncation=truncation, stride=stride,
        train_limit=train_limit,
    )  # fmt: skip
    chosen = {
        "name": method, "keep_layers": keep_layers, "keep": keep, "target": target, "replace_by": replace_by,
        "control": control,
    }  # fmt: skip
    training = {"epochs": epochs, "learning_rate": learning_rate, "batch_size": batch_size}
    budget = {
        "max_drop": max_drop, "min_speedup": min_speedup, "time_budget": time_budget, "storage": storage, "ray": ray,
    }  # fmt: skip
    measured = {"batch": batch, "length": length}
    if max_drop is None:
        _refuse(budget | measured, "belongs to --max-drop: add a budget, as in --max-drop 0.5.")
        chosen["name"] = method or "attendout"
        _compress(model, settings, chosen, training, out, seed, resume, json_)
    else:
        _refuse({"method": method} | chosen, "has no meaning with --max-drop, which finds out by itself: leave it out.")
        _autopilot(model, settings, budget, measured, training, out, seed, resume, json_)


def _refuse(options: dict[str, Any], why: str) -> None:
    """Raise TrimformerError for the first option that is given."""
    for name, value in options.items():
        if value is not None:
            raise TrimformerError(f"--{name.replace('_', '-')} {why}")


def demo(
    out: Out = Path("runs/demo"),
    task: TaskName = "sentiment",
    data: Data = None,
    text: Text = None,
    label: Label = None,
    train_limit: TrainLimit = None,
    keep_layers: Keep = 3,
    epochs: Epochs = 2,
    seed: Seed = 0,
    resume: Resume = False,
    json_: Json = False,
) -> None:
    """Run the main job offline: the demo encoder on a generated sentiment set, or on your data.

    Examples:

    `trimformer demo`

    `trimformer demo --task custom --data reviews.csv --text review --label sentiment --out runs/reviews`
    """
    settings = task_settings(name=task, data=data, text=text, label=label, train_limit=train_limit)
    method = {"name": "attendout", "keep_layers": keep_layers}
    _compress("demo", settings, method, {"epochs": epochs, "learning_rate": 1e-4}, out, seed, resume, json_)


def run(
    recipe: Annotated[Path, typer.Argument(help="A recipe in YAML.")],
    resume: Resume = False,
    json_: Json = False,
) -> None:
    """Run a recipe: the model, the data and every setting in one YAML file.

    Examples:

    `trimformer run recipes/attendout.yaml`

    `trimformer run runs/sst2.partial/recipe.yaml --resume`
    """
    from ..recipe.reading import load_recipe

    _run(load_recipe(recipe), resume, json_)


def evaluate(
    model: Model,
    task: TaskName = "custom",
    data: Data = None,
    validation: ValidationFile = None,
    text: Text = None,
    text_pair: TextPair = None,
    label: Label = None,
    kind: Kind = "auto",
    tags: Tags = None,
    scheme: Scheme = None,
    max_length: MaxLength = 128,
    truncation: Truncation = "head",
    stride: Stride = 64,
    against: Annotated[str | None, typer.Option(help="Another model: adds the paired bootstrap test.")] = None,
    json_: Json = False,
) -> None:
    """Score a fine-tuned model on validation data, alone or against another model.

    Examples:

    `trimformer evaluate runs/sst2/model --task sst2 --data glue/`

    `trimformer evaluate new/model --validation dev.csv --text review --label stars --against old/model`
    """
    from ..api import evaluate as evaluate_model

    settings = task_settings(
        name=task, data=data, validation=validation, text=text, text_pair=text_pair, label=label, kind=kind,
        tags=tags, scheme=scheme, max_length=max_length, truncation=truncation, stride=stride,
    )  # fmt: skip
    result = evaluate_model(model, settings, against=against)
    if json_:
        print(json.dumps(dataclasses.asdict(result), indent=2))
        return
    rows: list[tuple[str, Any]] = [(name, f"{value:.4f}") for name, value in result.scores.items()]
    rows += [("data", result.source), ("examples", result.n_examples), ("cut at the length limit", result.truncated)]
    if (test := result.against) is not None:
        interval = f"{test.difference:+.4f} (95 % {test.low:+.4f} to {test.high:+.4f}, p = {test.p_value:.3f})"
        rows.append((f"difference to {against}", interval))
    print_table(["", "value"], rows, f"{model} on {result.task}")
