"""The command line: verbs only. Results go to standard output, everything else to standard error.

Most of the package ``trimformer`` loads PyTorch and transformers, which takes seconds, and which may not be installed.
Help, the version and mistakes in the options need none of it: a verb imports its part when its work begins, never at
the top of its file.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated, NoReturn

import typer

from trimformer.errors import TrimformerError
from trimformer.extras import explained

from .bench import bench
from .explain import explain
from .export import export
from .jobs import compress, demo, evaluate, run
from .models import inspect, predict, trim
from .passages import encode_passages
from .profile import profile
from .service import serve
from .study import study
from .terminal import console, fail, prepare_streams
from .worker import worker

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="Make Transformer encoders smaller and faster without losing accuracy, and prove it on your data and machine.",
)
for verb in (
    compress,
    worker,
    demo,
    run,
    evaluate,
    explain,
    profile,
    study,
    trim,
    bench,
    export,
    encode_passages,
    predict,
    serve,
    inspect,
):
    app.command()(verb)
_state = {"debug": False}

QUIET = {"TRANSFORMERS_VERBOSITY": "error", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
"""Environment variables that transformers reads when it is loaded."""


def _show_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        print(f"trimformer {version('trimformer')}")
        raise typer.Exit


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and leave.")
    ] = False,
) -> None:
    _state["debug"] = debug


def main() -> None:
    """Entry point: a user's mistake is one sentence and exit code 2; ``--debug`` shows where it arose."""
    prepare_streams()
    _quieten_transformers()
    if "--debug" in sys.argv:  # it belongs to the program: take it wherever it stands
        sys.argv[1:] = ["--debug", *(word for word in sys.argv[1:] if word != "--debug")]
    try:
        with explained():
            app()
    except BrokenPipeError:  # the reader of our output has gone, as in `trimformer predict … | head`
        if sys.stdout is not None:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        if error.errno is None:
            raise
        _failed(f"{error.filename or 'A file'}: {error.strerror}")
    except TrimformerError as error:
        _failed(str(error))


def _quieten_transformers() -> None:
    """Switch its messages and progress bars off, for when a verb loads it, and where it is loaded already."""
    os.environ.update(QUIET)
    if "transformers" in sys.modules:  # as under `python -m trimformer`
        from transformers.utils import logging

        logging.set_verbosity_error()
        logging.disable_progress_bar()


def _failed(message: str) -> NoReturn:
    if _state["debug"]:
        console.print_exception()
    fail(message)
