"""The verb that looks before anything is trained: explain."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from .groups import TrainedTaskOptions
from .options import Force, JsonFile, Model, file_of, wrote
from .signature import grouped
from .terminal import print_line, print_table


@grouped
def explain(
    model: Model,
    *,
    task: TrainedTaskOptions,
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
    settings = task.settings()
    from trimformer.errors import TrimformerError
    from trimformer.explanation.advice import obstacle
    from trimformer.explanation.explain import explain as explain_model
    from trimformer.explanation.page import write_page
    from trimformer.explanation.tables import tables
    from trimformer.files import claim
    from trimformer.report.bench_picture import check_picture

    if plot is not None:
        check_picture(plot)
    why = None if recipe is None else obstacle(settings)
    if why is not None:
        raise TrimformerError(why)
    with claim(plot, recipe, file_of(json_file), force=force, inputs=task.inputs):
        found = explain_model(model, settings, batch=batch, length=length)
        if plot is not None:
            write_page(found, plot)
        if recipe is not None and found.recipe is not None:
            found.recipe.save(recipe)
        if wrote(json_file, found.as_json()):
            return
    print_line(f"{model} on {found.task}")
    for table in tables(found):
        print_table(table.header, table.rows, table.title)
        for note in table.notes:
            print_line(note)
    for sentence in (*found.conclusion, *found.notes):
        print_line(sentence)
    if recipe is not None:
        print_line(f"Run the recipe: trimformer run {shlex.quote(str(recipe))}")
