"""Verbs that run a job on data: compress, demo, run, evaluate."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from .groups import (
    BudgetOptions,
    CompressedTaskOptions,
    MethodOptions,
    TaskOptions,
    TrainingOptions,
    refuse,
)
from .options import (
    Data,
    Epochs,
    Json,
    KeepLayers,
    Label,
    Model,
    Out,
    Resume,
    Seed,
    TaskName,
    Text,
    TrainLimit,
)
from .signature import grouped
from .terminal import console, print_line, print_table


@contextlib.contextmanager
def resumable(out: Path) -> Iterator[None]:
    """After Ctrl-C, say how to go on."""
    from trimformer.pipeline.run_folder import partial_folder, resume_command

    try:
        yield
    except KeyboardInterrupt as error:
        if (partial_folder(out) / "recipe.yaml").is_file():
            how = f"Stopped; what is done is saved. Go on with: {resume_command(out)}"
            console.print(how, markup=False, soft_wrap=True)
        if (best := partial_folder(out) / "best").is_dir():
            what = "and its file are" if any(part.name != "model" for part in best.iterdir()) else "is"
            console.print(f"The best model by now {what} in {best}", markup=False, soft_wrap=True)
        raise typer.Exit(130) from error


def run_recipe(recipe: Any, resume: bool, as_json: bool) -> None:
    """The stages of a recipe, or its autopilot."""
    from trimformer.pipeline.run import run
    from trimformer.search.run import run as search

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
    from trimformer.deploy.agreement import percent
    from trimformer.search.report import figures, point_tables
    from trimformer.search.schema import SizeReport

    if as_json:
        print(report.model_dump_json(indent=2))
        return
    if isinstance(report, SizeReport):
        show_sizes(report, out)
        return
    for points in point_tables(report):
        print_table(points.header, points.rows, points.title)
    files = [
        (
            *(one.name, one.backend, *figures(one, report.task.metric)),
            "none" if one.agreement is None else percent(one.agreement),
        )
        for one in sorted(report.files, key=lambda one: one.ms)
        if one.name in ("dense", report.chosen.name)
    ]
    title = f"Files on the selection rows (speed: over {report.reference} of the dense model)"
    score = report.task.called_in_selection(report.task.metric)
    print_table(["model", "backend", score, "drop", "ms", "speed", "as fp32"], files, title)
    for line in (*report.conclusion, *report.notes):
        print_line(line)
    print_line(f"Use it: trimformer predict {shlex.quote(str(out / 'model'))} --backend {report.chosen.backend}")
    where = f"Model, file, all trained models, picture: {out}  (open {out / 'frontier.html'})"
    print_line(where)


def show_sizes(report: Any, out: Path) -> None:
    """Models by size and the conclusion in the terminal."""
    from trimformer.search.goals.size_report import size_table

    table = size_table(report, described=False)
    print_table(table.header, table.rows, table.title)
    for line in (*report.conclusion, *report.notes):
        print_line(line)
    print_line(f"Use it: trimformer predict {shlex.quote(str(out / 'model'))}")
    print_line(f"Model, all models, picture: {out}  (open {out / 'frontier.html'})")


def show_report(report: Any, out: Path, as_json: bool) -> None:
    """Dense against trimmed in the terminal, the headline where the eye is, at the end; or the whole report as JSON."""
    from trimformer.deploy.agreement import percent
    from trimformer.report import numbers
    from trimformer.report.summary import details, headline, removal_words
    from trimformer.report.variants_table import table

    if as_json:
        print(report.model_dump_json(indent=2))
        return
    rows = [dataclasses.astuple(row) for row in table(report)]
    removed = ", ".join(map(str, report.removed_layers()))
    title = f"Attention removed from layers: {removed}" if removed else removal_words(report)
    scored = f"beside each time the {report.task.score_name} of what was timed"
    print_table(["", "dense", "trimmed", "change"], rows, f"{title}; {scored}")
    files = [
        (
            one.file,
            "none" if one.label_agreement is None else percent(one.label_agreement),
            numbers.score(one.score, report.task.metric, few=4),
        )
        for one in report.export
        if one.score is not None
    ]
    if files:
        title = "Exported files by their own answers on the validation rows"
        print_table(["file", "as fp32", report.task.score_name], files, title)
    for stage, found in report.subnetworks.items():
        _show_subnetworks(stage, found, report.task)
    print_line(details(report))
    for note in report.notes:  # first those on files, data and head, which change the result
        print_line(note)
    where = f"Model, ONNX files and report: {out}  (open {out / 'report.html'})"
    print_line(where)
    print_line(headline(report))


def _show_subnetworks(stage: str, found: Any, task: Any) -> None:
    """Score and cost of the smaller models that a stage trained inside its own."""
    from trimformer.report import numbers

    rows = [
        (
            f"{one.width:g}",
            f"{one.depth:g}",
            "not scored" if one.score is None else numbers.score(one.score, task.metric, few=4),
            numbers.count(one.params),
            numbers.count(one.flops),
        )
        for one in found
    ]
    header = ["width", "depth", task.called_in_selection(task.metric), "weights", "FLOPs"]
    print_table(header, rows, f"Sub-networks of {stage} on the selection rows")


@grouped
def compress(
    model: Model,
    out: Out,
    *,
    task: CompressedTaskOptions,
    train_limit: TrainLimit = None,
    pseudo_labels: Annotated[
        bool | None,
        typer.Option(
            "--pseudo-labels",
            help="Leave the labels of the files unread: the dense model's own answers are the labels, as for --texts.",
        ),
    ] = None,
    budget: BudgetOptions,
    method: MethodOptions,
    training: TrainingOptions,
    fine_tune: Annotated[
        Literal["auto", "always", "never"],
        typer.Option(help="The dense model first; auto: where the checkpoint's head was not trained for these labels."),
    ] = "auto",
    seed: Seed = 0,
    resume: Resume = False,
    json_: Json = False,
) -> None:
    """Remove what the task does not need, fine-tune, measure, export and report: by a method, or within a budget.

    Examples:

    `trimformer compress my-model/ --train train.csv --text review --label stars --max-drop 0.5 --out runs/mine`

    `trimformer compress my-model/ --texts texts.txt --max-disagreement 1 --out runs/mine`

    `trimformer compress my-model/ --train train.csv --text review --label stars --post-training --out runs/mine`

    `trimformer compress bert-base-uncased --task sst2 --data glue/ --keep-layers 4 --out runs/sst2`

    `trimformer compress bert-base-uncased --task sst2 --data glue/ --student distil --epochs 6 --out runs/small`

    `trimformer compress my-model/ --train train.csv --text review --label stars --out runs/mine`
    """
    if not budget.searches:
        refuse(budget, "belongs to --max-drop: add a budget, as in --max-drop 0.5.")
    elif budget.post_training:
        refuse(method, "has no meaning with --post-training, which finds out by itself: leave it out.")
        refuse(training, "has no meaning with --post-training, which trains nothing: leave it out.")
    else:
        refuse(method, "has no meaning with --max-drop, which finds out by itself: leave it out.")
    settings = task.settings(train_limit=train_limit, pseudo_labels=pseudo_labels)
    if budget.max_disagreement is not None:
        _require_texts(settings)
    from trimformer.recipe.standard import augmented_recipe, autopilot_recipe, standard_recipe

    how: dict[str, Any] = {"training": training.settings(), "fine_tune": fine_tune, "seed": seed}
    if not budget.searches:
        how |= {"method": method.settings(), "control": method.dense_control, "student": method.student}
        recipe = standard_recipe(model, settings, str(out), **how)
        if method.augment is not None:
            recipe = augmented_recipe(recipe, method.augment)
    else:
        recipe = autopilot_recipe(model, settings, str(out), **budget.settings(), **how)
    run_recipe(recipe, resume, json_)


def _require_texts(settings: Any) -> None:
    """Refuse to take a budget of agreement for one of the score by labels."""
    from trimformer.errors import TrimformerError
    from trimformer.tasks.sources.unlabelled import texts_alone

    if not texts_alone(settings):
        raise TrimformerError(
            "--max-disagreement is a budget for texts without labels, and these data have labels: use --max-drop, or "
            "leave them unread with --pseudo-labels."
        )


def demo(
    out: Out = Path("runs/demo"),
    task: TaskName = "sentiment",
    data: Data = None,
    text: Text = None,
    label: Label = None,
    train_limit: TrainLimit = None,
    keep_layers: KeepLayers = 3,
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
    settings = TaskOptions(task, data, text=text, label=label).settings(train_limit=train_limit)
    training = TrainingOptions(epochs, learning_rate=1e-4).settings()
    from trimformer.recipe.standard import standard_recipe

    method = MethodOptions(keep_layers=keep_layers).settings()
    recipe = standard_recipe("demo", settings, str(out), method=method, training=training, seed=seed)
    run_recipe(recipe, resume, json_)


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
    from trimformer.recipe.reading import load_recipe

    run_recipe(load_recipe(recipe), resume, json_)


@grouped
def evaluate(
    model: Model,
    *,
    task: TaskOptions,
    against: Annotated[str | None, typer.Option(help="Another model: adds the paired test of the difference.")] = None,
    json_: Json = False,
) -> None:
    """Score a fine-tuned model on validation data, alone or against another model.

    Examples:

    `trimformer evaluate runs/sst2/model --task sst2 --data glue/`

    `trimformer evaluate new/model --validation dev.csv --text review --label stars --against old/model`
    """
    settings = task.settings()
    from trimformer.api import evaluate as evaluate_model

    result = evaluate_model(model, settings, against=against)
    if json_:
        print(json.dumps(dataclasses.asdict(result), indent=2))
        return
    from trimformer.report import numbers
    from trimformer.tasks.metric import metric

    rows: list[tuple[str, Any]] = [(name, numbers.score(value, name, few=4)) for name, value in result.scores.items()]
    rows += [("data", result.source), ("examples", result.n_examples), ("cut at the length limit", result.truncated)]
    if (test := result.against) is not None:
        exact = "exact " if test.interval == "exact" else ""
        first = next(iter(result.scores))
        decimals = metric(first).decimals(test.difference, 4)
        ends = f"{exact}95 % {test.low:+.{decimals}f} to {test.high:+.{decimals}f}"
        interval = ends if test.proves else "too few answers differ"
        drawn = "" if test.groups is None else f", {test.groups:,} groups drawn as a whole"
        said = f"{test.difference:+.{decimals}f} ({interval}, p = {test.p_value:.3f}{drawn})"
        rows.append((f"difference to {against}", said))
    print_table(["", "value"], rows, f"{model} on {result.task}")
    for note in result.notes:
        print_line(note)
