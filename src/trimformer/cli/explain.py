"""The verb that looks before anything is trained: explain."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from ..console import output, print_table
from ..errors import TrimformerError
from .options import (
    Data,
    Force,
    JsonFile,
    Kind,
    Label,
    MaxLength,
    Model,
    Scheme,
    Stride,
    Tags,
    TaskName,
    Text,
    TextPair,
    TrainFile,
    Truncation,
    ValidationFile,
    file_of,
    task_settings,
    wrote,
)


def explain(
    model: Model,
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
    batch: Annotated[int, typer.Option(help="Sequences of the pass that is timed.", min=1)] = 1,
    length: Annotated[
        int | None, typer.Option(help="Tokens of each. Default: the mean length of the data.", min=1)
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Write a page: importance beside cost, a heat map of the heads, the units.")
    ] = None,
    recipe: Annotated[
        Path | None, typer.Option(help="Write the suggested recipe, which `trimformer run` takes.")
    ] = None,
    json_file: JsonFile = None,
    force: Force = False,
) -> None:
    """Show what matters in a fine-tuned model on your data and what it costs on this machine, without training.

    Which attention layers, heads and feed-forward units the task needs, the milliseconds of each layer, whether int8
    and bf16 pay here, and the recipe that this suggests. Rows are held out of the training data as `compress` does it;
    with `--validation` alone, those rows are looked at.

    Examples:

    `trimformer explain my-model/ --train train.csv --text review --label stars --plot explain.html`

    `trimformer explain runs/sst2/dense/model --task sst2 --data glue/ --batch 8 --recipe fast.yaml`
    """
    from ..encoder.checkpoints.load import read_config, resolve
    from ..explanation.advice import obstacle
    from ..explanation.explain import explain as explain_model
    from ..explanation.page import write_page
    from ..explanation.tables import tables
    from ..files import claim
    from ..report.bench_picture import check_picture

    settings = task_settings(
        name=task, data=data, train=train, validation=validation, text=text, text_pair=text_pair, label=label,
        kind=kind, tags=tags, scheme=scheme, max_length=max_length, truncation=truncation, stride=stride,
    )  # fmt: skip
    if plot is not None:
        check_picture(plot)
    why = None if recipe is None else obstacle(model, read_config(resolve(model)), settings)
    if why is not None:
        raise TrimformerError(why)
    with claim(plot, recipe, file_of(json_file), force=force, inputs=(data, train, validation)):
        found = explain_model(model, settings, batch=batch, length=length)
        if plot is not None:
            write_page(found, plot)
        if recipe is not None and found.recipe is not None:
            found.recipe.save(recipe)
        if wrote(json_file, found.as_json()):
            return
    for table in tables(found):
        print_table(table.header, table.rows, f"{model} on {found.task}: {table.title.lower()}")
        for note in table.notes:
            output.print(note, markup=False, soft_wrap=True)
    for sentence in (*found.conclusion, *found.notes):
        output.print(sentence, markup=False, soft_wrap=True)
    if recipe is not None:
        output.print(f"Run the recipe: trimformer run {shlex.quote(str(recipe))}", markup=False, soft_wrap=True)
