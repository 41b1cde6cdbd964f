"""The verb that trains in order to understand: study."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import typer

from .groups import TrainingOptions
from .jobs import run_recipe
from .options import Json, Model, Out, Resume, Seed
from .signature import grouped


@grouped
def study(
    what: Annotated[Literal["positions"], typer.Argument(help="What is studied: the positions of attention.")],
    model: Model,
    out: Out,
    *,
    texts: Annotated[
        list[str],
        typer.Option(help="A file of plain text (docs/plain-text.md); may be repeated. Masked tokens are to be found."),
    ],
    max_length: Annotated[int, typer.Option(help="Tokens of each row: there are as many positions squared.")] = 128,
    shape: Annotated[
        str | None,
        typer.Option(help="From scratch: a fresh encoder of this shape, such as minilm6, with the model's tokenizer."),
    ] = None,
    per_layer: Annotated[
        bool, typer.Option("--per-layer", help="Each layer has factors of its own; else all share them.")
    ] = False,
    training: TrainingOptions,
    seed: Seed = 0,
    resume: Resume = False,
    json_: Json = False,
) -> None:
    """Find out how much each position of attention counts, by a factor for each that is trained with the weights.

    The report has a heat map of queries by keys, and the means of the diagonal, of neighbours, of special tokens and of
    the rest with their intervals.

    Examples:

    `trimformer study positions demo --texts corpus.txt.gz --epochs 1 --out runs/positions`

    `trimformer study positions demo --shape minilm6 --texts corpus.txt.gz --learning-rate 5e-4 --out runs/scratch`
    """
    from trimformer.recipe.standard import study_recipe

    how: dict[str, Any] = {"shape": shape, "per_layer": per_layer, "training": training.settings(), "seed": seed}
    run_recipe(study_recipe(model, texts, str(out), max_length=max_length, **how), resume, json_)
