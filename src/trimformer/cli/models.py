"""Verbs on models alone: trim, bench, export, predict, inspect."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from ..console import console, print_table
from ..errors import TrimformerError
from .options import Json, Model, Out, Text, TextPair


def trim(
    model: Model,
    out: Out,
    attention: Annotated[str, typer.Option(help="Layers (from 0) and their new kind, e.g. `0=mean,2-11=mean`.")],
    json_: Json = False,
) -> None:
    """Change the structure only, without training (for speed trials).

    Of a sentence-transformers folder the pooling and normalisation are kept.

    Example: `trimformer trim bert-base-uncased --attention 2-11=mean --out trimmed`
    """
    from ..encoder import TrimformerModel
    from ..encoder.load import fetch, load, load_tokenizer
    from ..encoder.sentence import copy_modules
    from ..encoder.trim import parse_attention
    from ..encoder.trim import trim as trim_model
    from ..files import atomic_folder, require_new_folder
    from ..measure.cost import cost

    require_new_folder(out)
    dense = load(model)
    trimmed = trim_model(dense, attention=parse_attention(attention))
    with atomic_folder(out) as folder:
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
    from ..measure.hardware import hardware, usable_cores
    from ..measure.latency import benchmark, speedups

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
    from ..files import atomic_file

    if str(path) == "-":
        print(text)
        return
    with atomic_file(path) as file:
        file.write_text(text, encoding="utf-8")


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
    from ..deploy.onnx import export as export_model
    from ..encoder.convert import to_huggingface
    from ..encoder.load import load, load_tokenizer
    from ..files import atomic_folder, require_new_folder

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


def predict(
    model: Model,
    file: Annotated[str, typer.Argument(help="Text file (a text per line), JSONL, CSV or TSV; `-` for stdin.")] = "-",
    text: Text = None,
    text_pair: TextPair = None,
    out: Annotated[Path | None, typer.Option("--out", help="Write here instead of standard output.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an unfinished output file.")] = False,
    backend: Annotated[str, typer.Option(help="auto, torch, onnx or onnx-int8.")] = "auto",
    workers: Annotated[
        int | None, typer.Option(help="Processes; default one, for large files one for each core.", min=1)
    ] = None,
    ray: Annotated[
        str | None, typer.Option(help="Work on a Ray cluster: host:port of its head, `auto` or `local`.")
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Texts per forward pass; default as many as have 512 tokens.", min=1)
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="JSON lines with all scores instead of plain labels.")] = False,
) -> None:
    """Label texts: reads a file of any size or standard input as a stream, keeps the order.

    Examples:

    `echo "a fine film" | trimformer predict runs/sst2/model`

    `trimformer predict runs/sst2/model reviews.csv --text review --json --out labels.jsonl`
    """
    from ..predict.command import predict_file

    try:
        predict_file(
            model, file, text, text_pair,
            out=out, resume=resume, backend=backend, batch_size=batch_size, as_json=json_,
            workers=workers, ray=ray,
        )  # fmt: skip
    except KeyboardInterrupt as error:
        if out is not None and out.with_name(f"{out.name}.partial").is_file():
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
    from ..encoder.load import load
    from ..measure.cost import cost

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
    rows = []
    for layer in layers:
        attends_near = layer["attention"] == "full" and layer["window"]
        kind = f"full, window {layer['window']}" if attends_near else layer["attention"]
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
