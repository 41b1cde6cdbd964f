"""The verb that computes once what a split model makes of passages."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Annotated

import typer

from .options import Json, Model, Out, Text
from .terminal import console


def encode_passages(
    model: Model,
    file: Annotated[
        Path, typer.Argument(help="The passages: a text file (one a line), JSON, JSONL, CSV, TSV or Parquet.")
    ],
    out: Out,
    text: Text = None,
    name: Annotated[
        str | None, typer.Option(help="Column of their names; default `id` where there is one, else numbers from 0.")
    ] = None,
    precision: Annotated[
        str, typer.Option(help="fp16, or fp32: twice the size, and states that are not rounded.")
    ] = "fp16",
    threads: Annotated[int | None, typer.Option(help="CPU threads; default all cores.", min=1)] = None,
    json_: Json = False,
) -> None:
    """Compute the lower layers of each passage once, for a model whose first layers see each text by itself.

    Such a model comes from `trimformer compress --method deformer`. predict and serve take the folder (`--passages`),
    and compute only the question's lower layers and the upper ones.

    Examples:

    `trimformer encode-passages runs/squad/model wiki.jsonl --text body --out wiki`

    `trimformer predict runs/squad/model asked.csv --text-pair passage --passages wiki`
    """
    from trimformer.inference.passages.encode import encode_passages as encode
    from trimformer.inference.passages.encode import read_file

    texts, names = read_file(file, text, name)
    done = encode(model, texts, out, names=names, precision=precision, threads=threads)
    if json_:
        print(json.dumps({"out": str(out), **dataclasses.asdict(done)}, indent=2))
        return
    if done.truncated:
        console.print(f"{done.truncated:,} of {done.passages:,} passages are longer than a row and were cut.")
    console.print(
        f"{done.passages:,} passages of {done.tokens:,} tokens in {done.windows:,} windows are in {out}: "
        f"{done.bytes / 2**20:,.1f} MiB of states.",
        soft_wrap=True,
    )
