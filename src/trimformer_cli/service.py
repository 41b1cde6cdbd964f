"""The verb that serves a model over HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import Backend, Model, Passages


def serve(
    model: Model,
    host: Annotated[str, typer.Option(help="Address to listen at; 0.0.0.0 for all of this machine.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0 for any free one.", min=0, max=65535)] = 8000,
    backend: Backend = "auto",
    threads: Annotated[int | None, typer.Option(help="CPU threads of the model; default all cores.", min=1)] = None,
    workers: Annotated[
        int, typer.Option(help="Batches at a time, which share the threads: more throughput, longer answers.", min=1)
    ] = 1,
    against: Annotated[
        str | None, typer.Option(help="A second model, such as the dense one, to compare with on the page.")
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(help="A host name that requests may be for; repeat it for more. At loopback only its own names."),
    ] = None,
    token_file: Annotated[
        Path | None, typer.Option(help="A file with a token that every request has to send (Authorization: Bearer).")
    ] = None,
    passages: Passages = None,
    max_batch: Annotated[
        int, typer.Option(help="Largest batch in tokens, estimated from the characters.", min=1)
    ] = 4096,
    max_wait_ms: Annotated[float, typer.Option(help="How long a text waits for others in an idle service.", min=0)] = 2,
    queue: Annotated[int, typer.Option(help="Texts that may wait; more are refused with 429.", min=1)] = 2048,
    timeout: Annotated[float, typer.Option(help="Seconds for a request.", min=0.1)] = 30,
) -> None:
    """Answer texts over HTTP: `/predict`, `/health`, `/metrics`, `/docs`, and a page to try a sentence.

    Examples:

    `trimformer serve runs/sst2/model --against runs/sst2/dense/model`

    `curl localhost:8000/predict -d '{"texts": ["a fine film"]}'`

    `trimformer serve runs/squad/model --passages wiki`
    """
    from trimformer.inference.serve.server import serve as serve_model

    try:
        serve_model(
            model, host, port, backend=backend, threads=threads, workers=workers, against=against,
            allow_host=allow_host or (), token_file=token_file, passages=passages,
            max_batch=max_batch, max_wait=max_wait_ms / 1e3, queue=queue, timeout=timeout,
        )  # fmt: skip
    except KeyboardInterrupt as error:
        raise typer.Exit(130) from error
