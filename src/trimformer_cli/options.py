"""Single options that commands share, the settings that are made from options, and the file of --json."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

if TYPE_CHECKING:
    from pydantic import BaseModel

M = TypeVar("M", bound="BaseModel")

Model = Annotated[str, typer.Argument(help="Folder or hub id of an encoder, or `demo` for the offline demo encoder.")]
TaskName = Annotated[
    str | None,
    typer.Option(
        "--task", help="`custom` for your own files, `sentiment` (built in), or one of docs/tasks.md, such as sst2."
    ),
]
Data = Annotated[str | None, typer.Option(help="Folder, file or hub dataset id.")]
Text = Annotated[str | None, typer.Option(help="Text column of your files.")]
TextPair = Annotated[str | None, typer.Option(help="Second text column, for pairs.")]
Label = Annotated[str | None, typer.Option(help="Label column of your files.")]
TrainLimit = Annotated[int | None, typer.Option(help="Use at most this many training rows.")]
KeepLayers = Annotated[int | None, typer.Option(help="Attention layers that stay.")]
Epochs = Annotated[float | None, typer.Option(help="Passes over the training data in each stage.")]
Ray = Annotated[str | None, typer.Option(help="Work on a Ray cluster: host:port of its head, `auto` or `local`.")]
Seed = Annotated[int, typer.Option(help="Seed of everything random.")]
Out = Annotated[Path, typer.Option("--out", help="New folder for the results.")]
Backend = Annotated[
    str,
    typer.Option(help="auto, torch, or the back-end of an exported file, such as onnx-int8 (docs/deploy.md)."),
]
Passages = Annotated[
    Path | None,
    typer.Option(help="Folder of encode-passages: second texts are names of passages in it, whose states are read."),
]
Force = Annotated[bool, typer.Option("--force", help="Replace output files that exist; without it they are refused.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with an unfinished run.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
JsonFile = Annotated[
    Path | None, typer.Option("--json", metavar="FILE", help="Write the result to this file; `-` prints it.")
]


def flag(name: str) -> str:
    """The option of a setting."""
    return f"--{name.replace('_', '-')}"


def validated(
    model: type[M], values: dict[str, Any], owner: str = "this command", option_of: Callable[[str], str] = flag
) -> M:
    """Settings from options; raises TrimformerError that names the option."""
    from pydantic import ValidationError

    from trimformer.errors import TrimformerError

    try:
        return model.model_validate(values)
    except ValidationError as error:
        # A misspelt name leaves another one missing; the word that was written helps more.
        first = min(error.errors(), key=lambda found: found["type"] != "extra_forbidden")
        option = option_of(str(first["loc"][0]))
        if first["type"] == "missing":
            message = f"{option} is missing: {owner} needs it."
        elif first["type"] == "extra_forbidden":
            message = f"{option} has no meaning for {owner}: leave it out."
        elif first["type"] == "value_error":  # of a validator of ours
            message = f"{option}: {first['ctx']['error']}."
        else:
            message = f"{option}: {first['msg'][:1].lower()}{first['msg'][1:]} (got {first['input']!r})."
        raise TrimformerError(message) from error


def file_of(json_file: Path | None) -> Path | None:
    """The file that --json names, if any."""
    return None if json_file is None or str(json_file) == "-" else json_file


def wrote(json_file: Path | None, content: dict[str, Any]) -> bool:
    """Write the result where --json wants it; whether it was printed, so that nothing else is to be."""
    from trimformer.files import save_text

    if json_file is None:
        return False
    text = json.dumps({"command": sys.argv, **content}, indent=2)
    file = file_of(json_file)
    if file is None:
        print(text)
        return True
    save_text(file, text)
    return False
