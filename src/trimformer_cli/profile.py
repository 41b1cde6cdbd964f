"""The verb that takes a model apart: profile."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import Force, JsonFile, Model, Text, TextPair, file_of, wrote
from .terminal import fail, print_line, print_table


def profile(
    model: Model,
    batch: Annotated[int, typer.Option(help="Sequences per pass.", min=1)] = 1,
    length: Annotated[int | None, typer.Option(help="Tokens per sequence, of random ids. Default 128.", min=1)] = None,
    data: Annotated[
        Path | None, typer.Option(help="Instead of random ids a file of texts, measured with their own lengths.")
    ] = None,
    text: Text = None,
    text_pair: TextPair = None,
    threads: Annotated[int | None, typer.Option(help="CPU threads; default all cores.", min=1)] = None,
    backends: Annotated[
        str | None, typer.Option(help="Comma-separated, see docs/profile.md; default those that matter most.")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Write a page with the picture: the share of each component.")
    ] = None,
    json_file: JsonFile = None,
    force: Force = False,
) -> None:
    """Show what each component costs: weights, bytes, operations, memory, and milliseconds under each back-end.

    The components are embeddings, the maps before attention, attention itself, the map after it, feed-forward blocks
    and head, of any model that can be loaded, trimmed or stock.

    Examples:

    `trimformer profile my-model/ --length 256 --threads 1 --plot profile.html`

    `trimformer profile shape:bert-base --batch 8 --backends onnx,onnx-int8`
    """
    if data is None and (text or text_pair):
        fail("--text and --text-pair name columns of a file: add --data.")
    from trimformer.files import claim
    from trimformer.measure.bench.bench import Texts
    from trimformer.measure.profile.profile import profile as profile_model
    from trimformer.report.bench_picture import check_picture
    from trimformer.report.profile_page import write_page
    from trimformer.report.profile_tables import tables

    if plot is not None:
        check_picture(plot)
    texts = None if data is None else Texts(data, text, text_pair)
    names = None if backends is None else backends.split(",")
    with claim(plot, file_of(json_file), force=force, inputs=(data,)):
        found = profile_model(model, batch=batch, length=length, texts=texts, threads=threads, backends=names)
        if plot is not None:
            write_page(found, plot)
        if wrote(json_file, found.as_json()):
            return
    for table in tables(found):
        print_table(table.header, table.rows, f"{model}: {table.title[:1].lower()}{table.title[1:]}")
    for note in found.notes():
        print_line(note)
