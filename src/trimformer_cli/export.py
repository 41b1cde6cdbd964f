"""The verb that writes a model for other runtimes."""

from __future__ import annotations

import dataclasses
import json
from typing import Annotated, Any, Literal

import typer

from .groups import TrainedTaskOptions
from .options import Json, Model, Out
from .signature import grouped
from .terminal import console, fail, print_line, print_table

VECTORS: Literal["embedding"] = "embedding"
"""The kind that a folder of sentence-transformers is exported as where it is named."""


@grouped
def export(
    model: Model,
    out: Out,
    *,
    to: Annotated[
        str | None, typer.Option(help="onnx (default), openvino, torch, or huggingface for a stock checkpoint.")
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option(
            help="Comma-separated; onnx: fp32, int8; openvino: fp32, bf16, int8, int4; torch: fp32. "
            "Default fp32,int8, for torch fp32."
        ),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(help="Instead of --to: measure all here and write the best for latency, throughput or size."),
    ] = None,
    max_drop: Annotated[
        float | None,
        typer.Option(help="With --target and data: what a file may lose to be taken. Default 0.5 points.", min=0),
    ] = None,
    task: TrainedTaskOptions,
    json_: Json = False,
) -> None:
    """Write a model for another runtime and check that its answers are the same.

    With a task or data each file is also scored, and the ranges of static int8 are set by its training texts. Of a
    sentence-transformers folder the encoder is exported, with `--kind embedding` the vectors of texts.

    Examples:

    `trimformer export runs/sst2/model --out onnx`

    `trimformer export runs/sst2/model --to openvino --precision bf16,int8 --task sst2 --data glue/ --out openvino`

    `trimformer export runs/sst2/dense/model --to huggingface --out stock`
    """
    form = to or "onnx"
    stock = form == "huggingface"
    if target is not None and (to or precision):
        fail("--target chooses the runtime and the precision itself: leave --to and --precision out.")
    if stock and (precision or task.named):
        fail("--precision and data have no meaning for huggingface: leave them out.")
    if not task.named:
        task.refuse(("kind",) if task.kind == VECTORS else ())
        if max_drop is not None:
            fail("--max-drop is a drop of a score, and no data are named to score on: name them with --data or --task.")
    settings = task.settings() if task.named else None
    from trimformer.deploy.export import FORMATS, chosen_backends, export_all, notes_of, scorer_for
    from trimformer.encoder import TrimformerForEmbedding
    from trimformer.encoder.checkpoints.families import to_huggingface
    from trimformer.encoder.checkpoints.load import load, load_tokenizer
    from trimformer.errors import TrimformerError
    from trimformer.files import new_folder, require_new_folder
    from trimformer.measure.bench.target import export_for

    if form not in (*FORMATS, "huggingface"):
        raise TrimformerError(f"--to: {to!r} is not known: use one of {', '.join(FORMATS)}, huggingface.")
    backends = [] if stock else chosen_backends(form, precision.split(",") if precision else None)
    require_new_folder(out)
    net = load(model, kind="embedding" if task.kind == VECTORS else None)
    tokenizer = None if model.startswith("shape:") else load_tokenizer(model)
    notes: list[str] = []
    with new_folder(out) as folder:
        if stock:
            to_huggingface(net).save_pretrained(folder)
            if isinstance(net, TrimformerForEmbedding):
                net.save_modules(folder)
            if tokenizer is not None:
                tokenizer.save_pretrained(folder)
            result: Any = [{"path": str(out)}]
        elif target is not None:
            result = dataclasses.asdict(export_for(target, net, folder, tokenizer, settings, max_drop))
        else:
            scorer = scorer_for(net, tokenizer, settings)
            files = export_all(net, folder, backends, tokenizer, scorer)
            notes = notes_of(files)
            if scorer is not None:
                notes += [*scorer.balance(*backends), *scorer.notes]
            result = [dataclasses.asdict(file) for file in files]
    if json_:
        print(json.dumps(result, indent=2, default=lambda path: str(out / path.name)))
        for line in notes:
            console.print(line, markup=False, soft_wrap=True)
    elif stock:
        print_line(f"Saved to {out}")
    elif target is not None:
        candidates = result["candidates"]
        _show([one["file"] for one in candidates], [one["milliseconds"] for one in candidates])
        for line in (result["why"], *result["notes"], f"Saved to {out}"):
            print_line(line)
    else:
        _show(result)
        for line in notes:
            print_line(line)
        print_line(f"Saved to {out}")


def _show(files: list[dict[str, Any]], milliseconds: list[list[float]] | None = None) -> None:
    """One row for each file; columns without a value in any are left out."""
    from trimformer.deploy.agreement import percent
    from trimformer.report import numbers
    from trimformer.tasks.metric import metric

    scored = files[0]["score"] is not None
    name = files[0]["metric"] or ""
    timed = milliseconds is not None and bool(milliseconds[0])
    header = ["back-end", "MB", "largest error", "as fp32"]
    header += [name, "drop in points" if metric(name).factor == 100 else "drop"] * scored
    header += ["ms, short", "ms, long"] * timed
    rows = []
    for index, file in enumerate(files):
        same = "" if file["agreement"] is None else percent(file["agreement"])
        row = [file["backend"], f"{file['bytes'] / 1e6:.1f}", f"{file['max_abs_error']:.1e}", same]
        if scored:
            decimals = metric(name).decimals(file["score_drop"])
            row += [numbers.hundredths(file["score"], name), f"{file['score_drop']:+.{decimals}f}"]
        if milliseconds is not None:
            row += [f"{time:.2f}" for time in milliseconds[index]]
        rows.append(row)
    print_table(header, rows)
    for calibration in {file["calibration"] for file in files} - {None}:
        print_line(f"The ranges of static int8 are those of {calibration}.")
