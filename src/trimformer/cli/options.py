"""The options that commands share, and the settings that are made from them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import TrimformerError

Model = Annotated[str, typer.Argument(help="Folder or hub id of an encoder, or `demo` for the offline demo encoder.")]
TaskName = Annotated[
    str,
    typer.Option(
        "--task", help="A GLUE task, imdb, conll2003, ud, treebank, squad, `sentiment` (built in) or `custom`."
    ),
]
Data = Annotated[str | None, typer.Option(help="Folder, file or hub dataset id.")]
TrainFile = Annotated[str | None, typer.Option("--train", help="Your training file (CSV, TSV, JSONL, Parquet).")]
ValidationFile = Annotated[str | None, typer.Option("--validation", help="Your validation file.")]
Text = Annotated[str | None, typer.Option(help="Text column of your files.")]
TextPair = Annotated[str | None, typer.Option(help="Second text column, for pairs.")]
Label = Annotated[str | None, typer.Option(help="Label column of your files.")]
Kind = Annotated[
    str, typer.Option(help="For your own files: auto, classification, multilabel, regression, tokens or spans.")
]
Tags = Annotated[str | None, typer.Option(help="conll2003: ner, pos or chunk; ud: upos or xpos.")]
Scheme = Annotated[str | None, typer.Option(help="How spans are tagged in the files: iob1 or iob2.")]
Truncation = Annotated[str, typer.Option(help="Which part of a long text stays: head, tail or both.")]
Stride = Annotated[int, typer.Option(help="Question answering: tokens that neighbouring windows share.", min=0)]
MaxLength = Annotated[int, typer.Option(help="Tokens per example; longer texts are cut.")]
TrainLimit = Annotated[int | None, typer.Option(help="Use at most so many training rows.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
JsonFile = Annotated[
    Path | None, typer.Option("--json", metavar="FILE", help="Write the result to this file; `-` prints it.")
]
Method = Annotated[
    str | None,
    typer.Option(
        help="attendout (the default), attendout-faithful, hard-concrete, greedy, importance, last-k, random-k, depth, "
        "layerdrop or finetune (plain fine-tuning)."
    ),
]
Keep = Annotated[int | None, typer.Option("--keep-layers", help="Attention layers that stay.")]
KeepWhole = Annotated[int | None, typer.Option("--keep", help="For depth and layerdrop: whole layers that stay.")]
Target = Annotated[
    float | None, typer.Option(help="For hard-concrete: share of the layers' operations that stays, such as 0.4.")
]
ReplaceBy = Annotated[
    str | None, typer.Option(help="What a layer without attention becomes: mean (the default), none or conv.")
]
Control = Annotated[str | None, typer.Option(help="For attendout: learned, untrained or reversed.")]
MaxDrop = Annotated[
    float | None,
    typer.Option(
        help="Instead of a method: find the fastest model that loses at most so many points (docs/autopilot.md)."
    ),
]
MinSpeedup = Annotated[
    float | None,
    typer.Option(help="With --max-drop: try models first that are at least so many times as fast as the stock one."),
]
Batch = Annotated[int | None, typer.Option(help="With --max-drop: texts in the batch that is to be fast. Default 1.")]
Length = Annotated[
    int | None, typer.Option(help="With --max-drop: tokens of each. Default: the lengths of the training data.")
]
TimeBudget = Annotated[
    str | None,
    typer.Option(help="With --max-drop: of the whole run, such as 2h or 45m. Default: no limit."),
]
Storage = Annotated[
    str | None,
    typer.Option(
        help="With --max-drop: let `trimformer worker` help from other machines, through a file beside the results "
        "(`sqlite`) or the URL of a database."
    ),
]
Ray = Annotated[str | None, typer.Option(help="Work on a Ray cluster: host:port of its head, `auto` or `local`.")]
Epochs = Annotated[float | None, typer.Option(help="Passes over the training data in each stage.")]
Rate = Annotated[float | None, typer.Option("--learning-rate", help="Peak learning rate in each stage.")]
BatchSize = Annotated[int | None, typer.Option(help="Examples per batch in training.")]
Seed = Annotated[int, typer.Option(help="Seed of everything random.")]
Out = Annotated[Path, typer.Option("--out", help="New folder for the results.")]
Backend = Annotated[
    str,
    typer.Option(
        help="auto, torch, or that of an exported file: onnx, onnx-int8, openvino, openvino-bf16, openvino-int8 …"
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Replace output files that exist; without it they are refused.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with an unfinished run.")]


def task_settings(**values: Any) -> Any:
    """The task from options."""
    from ..tasks.settings import TaskSettings

    if values["name"] == "custom" and not any(values.get(key) for key in ("data", "train", "validation")):
        raise TrimformerError("No data is given: name your file or folder with --data, or a known task with --task.")
    return validated(TaskSettings, {key: value for key, value in values.items() if value is not None})


def validated(model: Any, values: dict[str, Any], owner: str = "this command") -> Any:
    """Settings from options; a mistake names the option."""
    from pydantic import ValidationError

    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        option = "--" + str(first["loc"][0]).replace("_", "-")
        if first["type"] == "missing":
            message = f"{option} is missing: {owner} needs it."
        elif first["type"] == "extra_forbidden":
            message = f"{option} has no meaning for {owner}: leave it out."
        elif first["type"] == "value_error":  # of a validator of ours
            message = f"{option}: {first['ctx']['error']}."
        else:
            message = f"{option}: {first['msg'][:1].lower()}{first['msg'][1:]} (got {first['input']!r})."
        raise TrimformerError(message) from error


def method_settings(values: dict[str, Any]) -> dict[str, Any]:
    """The method's own settings from options, checked."""
    from ..methods import METHODS

    name = values["name"]
    given = {key: value for key, value in values.items() if value is not None}
    validated(METHODS.find(name).Settings, given, f"the method {name}")
    return given


def file_of(json_file: Path | None) -> Path | None:
    """The file that --json names, if any."""
    return None if json_file is None or str(json_file) == "-" else json_file


def wrote(json_file: Path | None, content: dict[str, Any]) -> bool:
    """Write the result where --json wants it; whether it was printed, so that nothing else is to be."""
    from ..files import save_text

    if json_file is None:
        return False
    text = json.dumps({"command": sys.argv, **content}, indent=2)
    file = file_of(json_file)
    if file is None:
        print(text)
        return True
    save_text(file, text)
    return False
