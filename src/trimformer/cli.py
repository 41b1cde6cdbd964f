"""The command line: verbs only. Results go to standard output, everything else to standard error."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from .console import console
from .errors import TrimformerError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="Make Transformer encoders smaller and faster without losing accuracy, and prove it on your data and machine.",
)
output = Console(highlight=False)

Model = Annotated[str, typer.Argument(help="Folder or hub id of an encoder, or `demo` for the offline demo encoder.")]
TaskName = Annotated[str, typer.Option("--task", help="A GLUE task, `sentiment` (built in) or `custom`.")]
Data = Annotated[str | None, typer.Option(help="Folder, file or hub dataset id.")]
TrainFile = Annotated[str | None, typer.Option("--train", help="Your training file (CSV, TSV, JSONL, Parquet).")]
ValidationFile = Annotated[str | None, typer.Option("--validation", help="Your validation file.")]
Text = Annotated[str | None, typer.Option(help="Text column of your files.")]
TextPair = Annotated[str | None, typer.Option(help="Second text column, for pairs.")]
Label = Annotated[str | None, typer.Option(help="Label column of your files.")]
Kind = Annotated[str, typer.Option(help="auto, classification or regression.")]
MaxLength = Annotated[int, typer.Option(help="Tokens per example; longer texts are cut.")]
TrainLimit = Annotated[int | None, typer.Option(help="Use at most so many training rows.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Method = Annotated[
    str, typer.Option(help="attendout, attendout-faithful, last-k, random-k or none (plain fine-tuning).")
]
Keep = Annotated[int | None, typer.Option("--keep-layers", help="Attention layers that stay.")]
Control = Annotated[str | None, typer.Option(help="For attendout: learned, untrained or reversed.")]
Epochs = Annotated[float | None, typer.Option(help="Passes over the training data in each stage.")]
Rate = Annotated[float | None, typer.Option("--learning-rate", help="Peak learning rate in each stage.")]
BatchSize = Annotated[int | None, typer.Option(help="Examples per batch in training.")]
Seed = Annotated[int, typer.Option(help="Seed of everything random.")]
Out = Annotated[Path, typer.Option("--out", help="New folder for the results.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with an unfinished run.")]


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    _state["debug"] = debug


_state = {"debug": False}


@contextlib.contextmanager
def resumable(out: Path) -> Iterator[None]:
    """After Ctrl-C, say how to go on."""
    from .pipeline import partial_folder, resume_command

    try:
        yield
    except KeyboardInterrupt as error:
        if (partial_folder(out) / "recipe.yaml").is_file():
            console.print(f"Stopped; what is done is saved. Go on with: {resume_command(out)}", soft_wrap=True)
        raise typer.Exit(130) from error


def task_settings(**values: Any) -> Any:
    """The task from options."""
    from .tasks.settings import TaskSettings

    if values["name"] == "custom" and not any(values.get(key) for key in ("data", "train", "validation")):
        raise TrimformerError("No data is given: name your file or folder with --data, or a known task with --task.")
    return _validated(TaskSettings, {key: value for key, value in values.items() if value is not None})


def _validated(model: Any, values: dict[str, Any], owner: str = "this command") -> Any:
    """Settings from options; a mistake names the option."""
    from pydantic import ValidationError

    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        option = "--" + str(first["loc"][-1]).replace("_", "-")
        if first["type"] == "missing":
            message = f"{option} is missing: {owner} needs it."
        elif first["type"] == "extra_forbidden":
            message = f"{option} has no meaning for {owner}: leave it out."
        else:
            message = f"{option}: {first['msg'][:1].lower()}{first['msg'][1:]} (got {first['input']!r})."
        raise TrimformerError(message) from error


def _method(values: dict[str, Any]) -> dict[str, Any]:
    """The method's own settings from options, checked."""
    from .methods import METHODS
    from .recipe import unknown_method

    name = values["name"]
    if name not in METHODS:
        raise TrimformerError(unknown_method(name))
    given = {key: value for key, value in values.items() if value is not None}
    _validated(METHODS[name].Settings, given, f"the method {name}")
    return given


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
    from .pipeline import run
    from .recipe import standard_recipe
    from .training.settings import TrainingSettings

    settings = _validated(TrainingSettings, {key: value for key, value in training.items() if value is not None})
    recipe = standard_recipe(model, task, str(out), method=_method(method), training=settings, seed=seed)
    with resumable(out):
        report = run(recipe, resume=resume)
    show_report(report, out, as_json)


def show_report(report: Any, out: Path, as_json: bool) -> None:
    """Dense against trimmed in the terminal, or the whole report as JSON."""
    from .report.schema import table

    if as_json:
        print(report.model_dump_json(indent=2))
        return
    rows = [dataclasses.astuple(row) for row in table(report)]
    removed = ", ".join(map(str, report.removed_layers())) or "none"
    print_table(["", "dense", "trimmed", "change"], rows, f"Attention removed from layers: {removed}")
    output.print(f"Model, ONNX files and report: {out}  (open {out / 'report.html'})", soft_wrap=True)


def print_table(header: list[str], rows: Any, title: str | None = None) -> None:
    table = Table(*header[:1], title=title, title_justify="left")
    for name in header[1:]:
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(*map(str, row))
    output.print(table)


@app.command()
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
    max_length: MaxLength = 128,
    train_limit: TrainLimit = None,
    method: Method = "attendout",
    keep_layers: Keep = None,
    control: Control = None,
    epochs: Epochs = None,
    learning_rate: Rate = None,
    batch_size: BatchSize = None,
    seed: Seed = 0,
    resume: Resume = False,
    json_: Json = False,
) -> None:
    """Learn which attention layers are needed, remove the others, fine-tune, measure, export and report.

    Examples:

    `trimformer compress bert-base-uncased --task sst2 --data glue/ --keep-layers 4 --out runs/sst2`

    `trimformer compress my-model/ --train train.csv --text review --label stars --out runs/mine`
    """
    settings = task_settings(
        name=task, data=data, train=train, validation=validation, text=text, text_pair=text_pair,
        label=label, kind=kind, max_length=max_length, train_limit=train_limit,
    )  # fmt: skip
    _compress(
        model, settings, {"name": method, "keep_layers": keep_layers, "control": control},
        {"epochs": epochs, "learning_rate": learning_rate, "batch_size": batch_size}, out, seed, resume, json_,
    )  # fmt: skip


@app.command()
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


@app.command()
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
    from .pipeline import run as run_recipe
    from .recipe import load_recipe

    loaded = load_recipe(recipe)
    out = Path(loaded.out)
    with resumable(out):
        report = run_recipe(loaded, resume=resume)
    show_report(report, out, json_)


@app.command()
def evaluate(
    model: Model,
    task: TaskName = "custom",
    data: Data = None,
    validation: ValidationFile = None,
    text: Text = None,
    text_pair: TextPair = None,
    label: Label = None,
    kind: Kind = "auto",
    max_length: MaxLength = 128,
    against: Annotated[str | None, typer.Option(help="Another model: adds the paired bootstrap test.")] = None,
    json_: Json = False,
) -> None:
    """Score a fine-tuned model on validation data, alone or against another model.

    Examples:

    `trimformer evaluate runs/sst2/model --task sst2 --data glue/`

    `trimformer evaluate new/model --validation dev.csv --text review --label stars --against old/model`
    """
    from .api import evaluate as evaluate_model

    settings = task_settings(
        name=task, data=data, validation=validation, text=text, text_pair=text_pair, label=label, kind=kind,
        max_length=max_length,
    )  # fmt: skip
    result = evaluate_model(model, settings, against=against)
    if json_:
        print(json.dumps(dataclasses.asdict(result), indent=2))
        return
    rows: list[tuple[str, Any]] = [(name, f"{value:.4f}") for name, value in result.scores.items()]
    rows += [("examples", result.n_examples), ("cut at the length limit", result.truncated)]
    if (test := result.against) is not None:
        interval = f"{test.difference:+.4f} (95 % {test.low:+.4f} to {test.high:+.4f}, p = {test.p_value:.3f})"
        rows.append((f"difference to {against}", interval))
    print_table(["", "value"], rows, f"{model} on {result.task}")


@app.command()
def trim(
    model: Model,
    out: Out,
    attention: Annotated[str, typer.Option(help="Layers (from 0) and their new kind, e.g. `0=mean,2-11=mean`.")],
    json_: Json = False,
) -> None:
    """Change the structure only, without training (for speed trials).

    Example: `trimformer trim bert-base-uncased --attention 2-11=mean --out trimmed`
    """
    from .encoder.load import load, load_tokenizer
    from .encoder.trim import parse_attention
    from .encoder.trim import trim as trim_model
    from .files import atomic_folder, require_new_folder
    from .measure.cost import cost

    require_new_folder(out)
    dense = load(model)
    trimmed = trim_model(dense, attention=parse_attention(attention))
    with atomic_folder(out) as folder:
        trimmed.save_pretrained(folder)
        if not model.startswith("shape:"):
            load_tokenizer(model).save_pretrained(folder)
    before, after = cost(dense), cost(trimmed)
    if json_:
        values = {
            "out": str(out),
            "params": [before.params, after.params],
            "flops": [before.flops, after.flops],
        }
        print(json.dumps(values, indent=2))
        return
    rows = [
        ("weights", f"{before.params:,}", f"{after.params:,}"),
        (f"FLOPs at {before.length} tokens", f"{before.flops:,.0f}", f"{after.flops:,.0f}"),
    ]
    print_table(["", "before", "after"], rows, f"Saved to {out}")


@app.command()
def bench(
    models: Annotated[list[str], typer.Argument(help="Folders, hub ids, or shapes such as `shape:bert-base`.")],
    batch: Annotated[list[int] | None, typer.Option(help="Sequences per pass; may be repeated.")] = None,
    length: Annotated[list[int] | None, typer.Option(help="Tokens per sequence; may be repeated.")] = None,
    threads: Annotated[int | None, typer.Option(help="CPU threads; default all cores.")] = None,
    backends: Annotated[
        str, typer.Option(help="Comma-separated: eager, sdpa, torch, onnx, onnx-int8.")
    ] = "eager,sdpa,torch,onnx,onnx-int8",
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the result to this file; `-` prints it.")
    ] = None,
) -> None:
    """Time models side by side: one run, interleaved, median and p95.

    Example: `trimformer bench shape:bert-base shape:bert-base,attention=2-11=mean --batch 4 --length 256 --threads 2`
    """
    from .measure.hardware import hardware, usable_cores
    from .measure.latency import benchmark, speedups

    timings = benchmark(
        models,
        batch=batch or [1, 4],
        length=length or [128],
        threads=threads or usable_cores(),
        backends=backends.split(","),
    )
    factors = speedups(timings)
    if json_file is not None:
        entries = [dataclasses.asdict(t) | {"speedup": f} for t, f in zip(timings, factors, strict=True)]
        text = json.dumps({"hardware": hardware(), "command": sys.argv, "timings": entries}, indent=2)
        _write(json_file, text)
    if json_file is None or str(json_file) != "-":
        rows = [
            (t.name, t.backend, f"{t.batch}×{t.length}")
            + ((f"{t.median_ms:.1f}", f"{t.p95_ms:.1f}", f"{f:.2f}x") if f else ("", "", t.skipped))
            for t, f in zip(timings, factors, strict=True)
        ]
        print_table(["model", "backend", "batch", "median ms", "p95 ms", "speed"], rows)


def _write(path: Path, text: str) -> None:
    from .files import atomic_file

    if str(path) == "-":
        print(text)
        return
    with atomic_file(path) as file:
        file.write_text(text, encoding="utf-8")


@app.command()
def export(
    model: Model,
    out: Out,
    to: Annotated[str, typer.Option(help="onnx, or huggingface for a stock checkpoint.")] = "onnx",
    int8: Annotated[bool, typer.Option(help="Also write an int8 ONNX file.")] = True,
    json_: Json = False,
) -> None:
    """Write a model for another runtime and check that its answers are the same.

    Examples:

    `trimformer export runs/sst2/model --out onnx`

    `trimformer export runs/sst2/dense/model --to huggingface --out stock`
    """
    from .deploy.onnx import export as export_model
    from .encoder.convert import to_huggingface
    from .encoder.load import load, load_tokenizer
    from .files import atomic_folder, require_new_folder

    if to not in ("onnx", "huggingface"):
        raise TrimformerError(f"--to: {to!r} is not known: use onnx or huggingface.")
    require_new_folder(out)
    net = load(model)
    tokenizer = None if model.startswith("shape:") else load_tokenizer(model)
    with atomic_folder(out) as folder:
        if to == "huggingface":
            to_huggingface(net).save_pretrained(folder)
            if tokenizer is not None:
                tokenizer.save_pretrained(folder)
            rows: list[dict[str, Any]] = [{"path": str(out)}]
        else:
            files = export_model(net, folder, int8=int8, tokenizer=tokenizer)
            rows = [dataclasses.asdict(file) | {"path": str(out / file.path.name)} for file in files]
    if json_:
        print(json.dumps(rows, indent=2))
    else:
        print_table(list(rows[0]), [row.values() for row in rows])


@app.command()
def predict(
    model: Model,
    file: Annotated[str, typer.Argument(help="Text file (a text per line), JSONL, CSV or TSV; `-` for stdin.")] = "-",
    text: Text = None,
    text_pair: TextPair = None,
    out: Annotated[Path | None, typer.Option("--out", help="Write here instead of standard output.")] = None,
    backend: Annotated[str, typer.Option(help="auto, torch, onnx or onnx-int8.")] = "auto",
    batch_size: Annotated[int, typer.Option(help="Texts per forward pass.", min=1)] = 32,
    json_: Annotated[bool, typer.Option("--json", help="JSON lines with all scores instead of plain labels.")] = False,
) -> None:
    """Label texts: reads a file or standard input as a stream, keeps the order.

    Examples:

    `echo "a fine film" | trimformer predict runs/sst2/model`

    `trimformer predict runs/sst2/model reviews.csv --text review --json --out labels.jsonl`
    """
    from .predict import predict_stream

    predict_stream(model, file, text, text_pair, out=out, backend=backend, batch_size=batch_size, as_json=json_)


@app.command()
def inspect(
    model: Model,
    length: Annotated[int, typer.Option(help="Tokens per sequence for the FLOPs.", min=1)] = 128,
    json_: Json = False,
) -> None:
    """Show the shape and the cost of each layer.

    Example: `trimformer inspect shape:bert-base,attention=2-11=mean --length 256`
    """
    from .encoder.load import load
    from .measure.cost import cost

    net = load(model)
    counted = cost(net, length)
    layers = [
        {"layer": index, **dataclasses.asdict(shape), **dataclasses.asdict(layer)}
        for index, (shape, layer) in enumerate(zip(net.config.shapes, counted.layers, strict=True))
    ]
    if json_:
        total = {"params": counted.params, "bytes": counted.bytes, "flops": counted.flops, "length": length}
        print(json.dumps({"model": model, "family": net.config.family, **total, "layers": layers}, indent=2))
        return
    rows = [(*list(layer.values())[:5], f"{layer['params']:,}", f"{layer['flops'] / 1e6:,.1f} M") for layer in layers]
    rows.append(
        (
            "all",
            "with embeddings and head",
            "",
            "",
            "",
            f"{counted.params:,}",
            f"{counted.flops / 1e6:,.1f} M",
        )
    )
    print_table(["layer", "attention", "heads", "head size", "ffn", "weights", f"FLOPs at {length}"], rows, model)


def main() -> None:
    """Entry point: a user's mistake is one sentence and exit code 2; ``--debug`` shows where it arose."""
    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    try:
        app()
    except TrimformerError as error:
        _fail(str(error))
    except OSError as error:
        if error.errno is None:
            raise
        _fail(f"{error.filename or 'A file'}: {error.strerror}")


def _fail(message: str) -> NoReturn:
    if _state["debug"]:
        console.print_exception()
    message = message if message.endswith((".", "?", "!", "`")) else f"{message}."
    console.print(f"[red]error:[/red] {escape(message)}", soft_wrap=True)
    sys.exit(2)
