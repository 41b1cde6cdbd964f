"""The verb that measures: bench."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .groups import TaskOptions
from .options import Force, JsonFile, file_of, wrote
from .signature import grouped
from .terminal import fail, print_line, print_table

if TYPE_CHECKING:
    from trimformer.measure.bench.latency import Timing


@dataclasses.dataclass(frozen=True)
class BenchTaskOptions(TaskOptions):
    """What the models are scored on, if on anything, and whose lengths are timed."""

    task: Annotated[
        str | None, typer.Option(help="Score every variant on this task, as `evaluate` does; `custom` for your files.")
    ] = None
    data: Annotated[
        str | None, typer.Option(help="With --task its data; alone a file of texts, timed with their own lengths.")
    ] = None


@grouped
def bench(
    models: Annotated[
        list[str],
        typer.Argument(
            help="Folders, hub ids, shapes such as `shape:bert-base`, or exported files; `name=…` gives a name."
        ),
    ],
    batch: Annotated[
        list[int] | None, typer.Option(help="Sequences per pass; may be repeated. Default 1, and 8 as time allows.")
    ] = None,
    length: Annotated[list[int] | None, typer.Option(help="Tokens per sequence; may be repeated. Default 128.")] = None,
    threads: Annotated[int | None, typer.Option(help="CPU threads; default all cores.")] = None,
    backends: Annotated[
        str | None, typer.Option(help="Comma-separated, see docs/benchmarks.md; default those that matter most.")
    ] = None,
    *,
    task: BenchTaskOptions,
    thorough: Annotated[
        bool, typer.Option("--thorough", help="Measure all, however long it takes, and not what a minute allows.")
    ] = False,
    fresh: Annotated[
        bool | None,
        typer.Option(help="Measure start-up and memory too, each in a process of its own; default with --thorough."),
    ] = None,
    table: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Instead, measure what the pieces cost and predict any shape; a table that is there is extended. "
            "`auto`: keep it in the cache.",
        ),
    ] = None,
    plot: Annotated[Path | None, typer.Option(help="Write a page with the picture: speed against score.")] = None,
    json_file: JsonFile = None,
    force: Force = False,
) -> None:
    """Measure models side by side under several back-ends: one run, taking turns, within about a minute.

    Examples:

    `trimformer bench shape:bert-base shape:bert-base,attention=2-11=mean --batch 4 --length 256 --threads 2`

    `trimformer bench runs/sst2/dense/model runs/sst2/model --task sst2 --data glue/ --plot speed.html`

    `trimformer bench runs/sst2/model --table auto --batch 1 --backends onnx-int8`
    """
    if table is not None and (task.task or task.data or plot or thorough):
        fail("--table measures shapes alone: leave out --task, --data, --plot and --thorough.")
    if task.task is None:
        if task.validation:
            fail("--validation names rows to score on: add --task custom, which reads your own files.")
        task.refuse(but=("data", "text", "text_pair", "max_length"))
    settings = None if task.task is None else task.settings()
    from trimformer.cores import usable_cores
    from trimformer.files import claim
    from trimformer.measure.bench.bench import Texts
    from trimformer.measure.bench.bench import bench as measure
    from trimformer.report.bench_picture import check_picture, write_picture
    from trimformer.report.bench_tables import shortened, tables

    how: dict[str, Any] = {
        "batch": batch,
        "length": length or [128],
        "threads": threads or usable_cores(),
        "backends": None if backends is None else backends.split(","),
    }
    if table is not None:
        how["batch"] = batch or [1, 8]
        _table(models, None if table == "auto" else Path(table), json_file, force, how)
        return
    if plot is not None:
        check_picture(plot)
    texts = None
    if task.task is None and task.data is not None:
        texts = Texts(Path(task.data), task.text, task.text_pair, task.max_length)
    with claim(plot, file_of(json_file), force=force, inputs=task.inputs):
        result = measure(models, texts=texts, task=settings, fresh=fresh, thorough=thorough, done=_print_rows, **how)
        if plot is not None:
            write_picture(result, plot)
        if wrote(json_file, result.as_json()):
            return
    short, legend = shortened(result)
    for found in tables(short):
        print_table(found.header, found.rows, found.title, found.spare)
        for note in found.notes:
            print_line(note)
    for note in [*legend, *short.notes()]:
        print_line(note)


def _print_rows(timings: list[Timing]) -> None:
    """The results of a workload as they come, above the progress on standard error."""
    from trimformer.console import console
    from trimformer.measure.bench.names import short_names
    from trimformer.report.bench_tables import workload_title
    from trimformer.report.numbers import milliseconds

    short = short_names(timing.name for timing in timings)
    for timing in timings:
        if timing.median_ms is not None:
            passes = f"{timing.runs} pass{'' if timing.runs == 1 else 'es'}"
            row = f"{short[timing.name]}, {timing.backend}: {milliseconds(timing.median_ms)} ({passes})"
            console.print(f"{workload_title(timing)}: {row}", markup=False, soft_wrap=True)


def _table(models: list[str], file: Path | None, json_file: Path | None, force: bool, how: dict[str, Any]) -> None:
    """Measure what the table lacks for the models, and check its predictions."""
    from trimformer.encoder.checkpoints.load import load
    from trimformer.files import claim
    from trimformer.hardware import hardware
    from trimformer.measure.bench.variants import named
    from trimformer.measure.device.pieces import latency_tables
    from trimformer.measure.device.table import default_file
    from trimformer.measure.device.varied import check, median_error
    from trimformer.report.numbers import milliseconds

    with claim(file_of(json_file), force=force, inputs=(file,)):
        nets = {name: load(str(given)) for name, given in named(models).items()}
        checks = {name: check(net, latency_tables(net, file=file, **how)) for name, net in nets.items()}
        errors = {name: median_error(found) for name, found in checks.items()}
        content = {
            "hardware": hardware(),
            "threads": how["threads"],
            "file": str(file or default_file()),
            "checks": {name: [dataclasses.asdict(one) for one in found] for name, found in checks.items()},
            "median_error": errors,
        }
        if wrote(json_file, content):
            return
    for name, found in checks.items():
        rows = [
            (
                one.model, one.backend, f"{one.batch}×{one.length}", milliseconds(one.predicted_ms),
                milliseconds(one.measured_ms), f"{100 * one.error:+.1f} %",
            )
            for one in found
        ]  # fmt: skip
        header = ["layers", "backend", "batch×length", "predicted", "measured", "error"]
        print_table(header, rows, f"{name}: median error {100 * errors[name]:.1f} %")
    print_line(f"The table is {content['file']}.")
