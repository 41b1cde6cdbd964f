"""The verb that helps a search from another process or machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .terminal import console


def worker(
    out: Annotated[Path, typer.Argument(help="The --out of the search, on a disk that all machines share.")],
) -> None:
    """Help a search that was started with --max-drop and --storage: do the trainings that wait, until it has no more.

    Start it in the folder where the search was started, on as many machines as there are, at any time. Ctrl-C leaves
    what it was training to the others.

    Examples:

    `trimformer worker runs/mine`
    """
    from trimformer.search.worker import work

    try:
        trained = work(out)
    except KeyboardInterrupt as error:
        console.print("Stopped; another worker goes on with what was being trained.")
        raise typer.Exit(130) from error
    console.print(f"Trained {trained} model{'s' * (trained != 1)} for {out}", markup=False, soft_wrap=True)
