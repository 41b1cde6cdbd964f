"""Verbs on models alone: trim, predict, inspect."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Annotated

import typer

from .options import Backend, Force, Json, Model, Out, Passages, Ray, Text, TextPair
from .terminal import console, fail, print_line, print_table


def trim(
    model: Model,
    out: Out,
    attention: Annotated[
        str | None, typer.Option(help="Layers (from 0) and their new kind, e.g. `0=conv,2-11=none`.")
    ] = None,
    width: Annotated[
        float | None,
        typer.Option(help="Of a model, or the folder of a run, by dynabert: share of the heads and units that stays."),
    ] = None,
    depth: Annotated[float | None, typer.Option(help="Of the same: share of the layers that stays.")] = None,
    json_: Json = False,
) -> None:
    """Change the structure only, without training: for speed trials, or to cut out what dynabert has trained.

    A sentence-transformers folder keeps its pooling and normalisation.

    Examples:

    `trimformer trim bert-base-uncased --attention 2-11=mean --out trimmed`

    `trimformer trim runs/nested --width 0.5 --depth 0.75 --out small`
    """
    from trimformer.encoder import TrimformerModel
    from trimformer.encoder.checkpoints.load import fetch, load, load_tokenizer
    from trimformer.encoder.checkpoints.sentence import copy_modules
    from trimformer.encoder.gating.trim import parse_attention
    from trimformer.encoder.gating.trim import trim as trim_model
    from trimformer.files import new_folder, require_new_folder
    from trimformer.measure.cost import cost

    nested = (width, depth) != (None, None)
    if nested == (attention is not None):
        fail("trim needs either --attention, or --width and --depth: give one of the two.")
    require_new_folder(out)
    if nested and (Path(model) / "report.json").is_file():
        model = str(Path(model) / "model")  # what the run left
    dense = load(model)
    kinds = None if attention is None else parse_attention(attention)
    trimmed = trim_model(dense, attention=kinds, width=width, depth=depth)
    with new_folder(out) as folder:
        trimmed.save_pretrained(folder)
        if not model.startswith("shape:"):
            load_tokenizer(model).save_pretrained(folder)
            if isinstance(trimmed, TrimformerModel):
                copy_modules(fetch(model), folder)
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


def predict(
    model: Model,
    file: Annotated[
        str, typer.Argument(help="Text file (a text per line), JSON, JSONL, CSV or TSV; `-` for stdin.")
    ] = "-",
    text: Text = None,
    text_pair: TextPair = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Write to this new file (or pipe, or device), not to standard output.")
    ] = None,
    force: Force = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an unfinished output file.")] = False,
    backend: Backend = "auto",
    workers: Annotated[
        int | None, typer.Option(help="Processes; default one, for large files one for each core.", min=1)
    ] = None,
    ray: Ray = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Texts per forward pass; default as many as have 512 tokens.", min=1)
    ] = None,
    passages: Passages = None,
    json_: Annotated[bool, typer.Option("--json", help="JSON lines with all scores instead of plain labels.")] = False,
) -> None:
    """Label texts: reads a file of any size or standard input as a stream, keeps the order.

    Examples:

    `echo "a fine film" | trimformer predict runs/sst2/model`

    `trimformer predict runs/sst2/model reviews.csv --text review --json --out labels.jsonl`

    `trimformer predict runs/squad/model asked.csv --text-pair passage --passages wiki --json`
    """
    from trimformer.inference.predict.command import predict_file
    from trimformer.inference.predict.output import partial_file

    try:
        predict_file(
            model, file, text, text_pair,
            out=out, resume=resume, force=force, backend=backend, batch_size=batch_size, as_json=json_,
            workers=workers, ray=ray, passages=passages,
        )  # fmt: skip
    except KeyboardInterrupt as error:
        if out is not None and partial_file(out).is_file():
            console.print("Stopped. Go on with the same command and --resume.", soft_wrap=True)
        raise typer.Exit(130) from error


def inspect(
    model: Model,
    length: Annotated[int, typer.Option(help="Tokens per sequence for the FLOPs.", min=1)] = 128,
    json_: Json = False,
) -> None:
    """Show the shape and the cost of each layer.

    Example: `trimformer inspect shape:bert-base,attention=2-11=mean --length 256`
    """
    from trimformer.encoder.checkpoints.load import load
    from trimformer.encoder.shape.ranges import to_ranges
    from trimformer.measure.cost import cost
    from trimformer.saved.exits import ExitShape

    net = load(model)
    counted = cost(net, length)
    layers = [
        {"layer": index, **dataclasses.asdict(shape), **dataclasses.asdict(layer)}
        for index, (shape, layer) in enumerate(zip(net.config.shapes, counted.layers, strict=True))
    ]
    if json_:
        total = {"params": counted.params, "bytes": counted.bytes, "flops": counted.flops, "length": length}
        exits = net.config.exits
        said = {"model": model, "family": net.config.family, **total, "exits": exits, "layers": layers}
        print(json.dumps(said, indent=2))
        return
    rows = []
    for layer in layers:
        more = [f"{name} {layer[name]}" for name in ("window", "kernel", "tokens") if layer[name]]
        kind = ", ".join([layer["attention"], *more])
        sizes = (layer["heads"], layer["head_size"], layer["ffn"])
        rows.append((layer["layer"], kind, *sizes, f"{layer['params']:,}", f"{layer['flops'] / 1e6:,.1f} M"))
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
    if net.config.split_layers:
        print_line(
            f"The first {net.config.split_layers} layers see each text of a pair by itself, the second one numbered "
            f"from {net.config.passage_start} on. The FLOPs are those of a row of one text."
        )
    if net.config.exits is not None:
        shape = ExitShape.read(net.config.exits)
        print_line(
            f"Exits stand after the layers {to_ranges(shape.after)}: a text leaves where {shape.when}. The FLOPs are "
            "those of a text that leaves at none."
        )
