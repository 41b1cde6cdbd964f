"""Runs the service until it is told to stop."""

from __future__ import annotations

import gc
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ...console import console
from ...cores import usable_cores
from ...errors import TrimformerError
from ...extras import require
from ..predictor import Predictor

if TYPE_CHECKING:
    import uvicorn
    from fastapi import FastAPI

PACKAGES = ("fastapi", "fastapi_offline", "prometheus_client", "uvicorn")
CONNECTIONS = 1000
HEAD = 64 * 1024
"""Bytes of request line and headers, which are kept until they are whole."""


def serve(
    model: str,
    host: str,
    port: int,
    *,
    backend: str = "auto",
    threads: int | None = None,
    workers: int = 1,
    against: str | None = None,
    allow_host: Sequence[str] = (),
    token_file: Path | None = None,
    passages: Path | None = None,
    **settings: float,
) -> None:
    """Serve a model; returns after Ctrl-C, SIGTERM or SIGHUP, when what was accepted is answered.

    port: 0 = any free one. workers: batches at a time, each on an equal part of the threads. against: a second model
    to compare with. allow_host: names that requests may have beside those of the loopback. token_file: holds what
    requests have to send. passages: folder of encoded passages that requests name. settings: of :class:`.app.Settings`.
    Raises TrimformerError for a missing package, a model that cannot be served and an address that cannot be used.
    """
    require("serve", PACKAGES)

    if passages is not None and against is not None:
        raise TrimformerError(
            "Another model cannot read the passages that were kept for this one: leave --against or --passages out."
        )

    def opened(name: str) -> list[Predictor]:
        each = None if threads is None and workers == 1 else max(1, (threads or usable_cores()) // workers)
        first = Predictor(name, backend, each, passages=passages)
        if first.backend == "torch" and workers > 1:
            raise TrimformerError(
                "PyTorch's threads belong to one batch at a time: serve an exported file (--backend), or one worker."
            )
        return [first, *(Predictor(name, backend, each, passages=passages) for _ in range(workers - 1))]

    from .app import Settings, create_app
    from .door import Door, allowed_hosts, read_token

    chosen = Settings(**settings)  # type: ignore[arg-type]
    token = None if token_file is None else read_token(token_file)
    with bind(host, port) as listener:
        other = (against, opened(against)) if against is not None else None
        app = create_app(model, opened(model), chosen, other)
        app.add_middleware(Door, hosts=allowed_hosts(host, allow_host), token=token)
        server = make_server(app, chosen.timeout)
        # What is there now stays: searching the libraries' many objects for garbage would stop all answers for 0.3 s.
        gc.collect()
        gc.freeze()
        listener.listen(server.config.backlog)
        console.print(f"Serving {model} at {address(listener)} (stop with Ctrl-C)", markup=False, soft_wrap=True)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # uvicorn passes it on when all is answered
        drain_on_hangup(server)
        server.run(sockets=[listener])


def make_server(app: FastAPI, timeout: float) -> uvicorn.Server:
    """timeout: of a request. After the signal to stop, a request has as long for body and answer as ever."""
    import uvicorn

    return uvicorn.Server(
        uvicorn.Config(
            app,
            http="h11",  # httptools collects a request line and headers of any size, and stalls all others meanwhile
            h11_max_incomplete_event_size=HEAD,
            log_level="warning",
            access_log=False,
            server_header=False,
            limit_concurrency=CONNECTIONS,
            timeout_graceful_shutdown=int(2 * timeout) + 1,
        )
    )


def drain_on_hangup(server: uvicorn.Server) -> None:
    """A terminal that closes ends the service as SIGTERM does, unless it is to outlive it (nohup)."""
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, lambda _, frame: server.handle_exit(signal.SIGTERM, frame))


def bind(host: str, port: int) -> socket.socket:
    """A bound socket. It does not listen yet: clients shall not wait for a model that is still loading."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
        except BaseException:
            listener.close()
            raise
    except (OSError, OverflowError, UnicodeError) as error:  # UnicodeError: no name that can be looked up
        reason = getattr(error, "strerror", None) or str(error)
        raise TrimformerError(
            f"The service cannot listen at {host}, port {port} ({reason.lower()}): choose another --host or --port."
        ) from error
    return listener


def address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
