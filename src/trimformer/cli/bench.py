"""The verb that measures: bench."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from ..console import output, print_table
from ..errors import TrimformerError
from .options import (
    Kind,
    Label,
    MaxLength,
    Scheme,
    Stride,
    Tags,
    Text,
    TextPair,
    Truncation,
    ValidationFile,
    task_settings,
)


def bench(
    models: Annotated[
        list[str],
        typer.Argument(
            help="Folders, hub ids, shapes such as `shape:bert-base`, or exported files; `name=…` gives a name."
        ),
    ],
    batch: Annotated[
        list[int] | None, typer.Option(help="Sequences per pass; may be repeated. Default 1 and 8.")
    ] = None,
    length: Annotated[list[int] | None, typer.Option(help="Tokens per sequence; may be repeated. Default 128.")] = None,
    threads: Annotated[int | None, typer.Option(help="CPU threads; default all cores.")] = None,
    backends: Annotated[
        str | None, typer.Option(help="Comma-separated, see docs/benchmarks.md; default all that this machine has.")
    ] = None,
    task: Annotated[
        str | None, typer.Option(help="Score every variant on this task, as `evaluate` does; `custom` for your files.")
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="With --task its data; alone a file of texts, timed with their own lengths.")
    ] = None,
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
    fresh: Annotated[
        bool, typer.Option(help="Measure start-up and memory too, each variant in a process of its own.")
    ] = True,
    plot: Annotated[Path | None, typer.Option(help="Write a page with the picture: speed against score.")] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the result to this file; `-` prints it.")
    ] = None,
) -> None:
    """Measure models side by side under every back-end: one run, taking turns.

    Examples:

    `trimformer bench shape:bert-base shape:bert-base,attention=2-11=mean --batch 4 --length 256 --threads 2`

    `trimformer bench runs/sst2/dense/model runs/sst2/model --task sst2 --data glue/ --plot speed.html`
    """
    from ..files import atomic_file
    from ..measure.bench import Texts
    from ..measure.bench import bench as measure
    from ..measure.hardware import usable_cores
    from ..report.bench_picture import check_picture, write_picture
    from ..report.bench_tables import tables

    if plot is not None:
        check_picture(plot)
    if task is None and (label or validation):
        raise TrimformerError("--label and --validation belong to a task: add --task custom, or the task's name.")
    settings = None if task is None else task_settings(
        name=task, data=data, validation=validation, text=text, text_pair=text_pair, label=label, kind=kind,
        tags=tags, scheme=scheme, max_length=max_length, truncation=truncation, stride=stride,
    )  # fmt: skip
    texts = Texts(Path(data), text, text_pair, max_length) if task is None and data is not None else None
    result = measure(
        models,
        batch=batch or [1, 8],
        length=length or [128],
        texts=texts,
        task=settings,
        threads=threads or usable_cores(),
        backends=None if backends is None else backends.split(","),
        fresh=fresh,
    )
    content = json.dumps({"command": sys.argv, **result.as_json()}, indent=2)
    if json_file is not None and str(json_file) != "-":
        with atomic_file(json_file) as file:
            file.write_text(content, encoding="utf-8")
    if plot is not None:
        write_picture(result, plot)
    if json_file is not None and str(json_file) == "-":
        print(content)
        return
    for table in tables(result):
        print_table(table.header, table.rows, table.title)
        for note in table.notes:
            output.print(note, markup=False, soft_wrap=True)
