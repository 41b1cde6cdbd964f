"""The paths of the service and what each answers."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from fastapi_offline import FastAPIOffline
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import TypeAdapter
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from ...console import console
from ...errors import TrimformerError
from ...inference.serve.batcher import Answered
from ...tasks.kinds import KINDS
from ..batches import Row
from ..predict.labeller import line
from ..predictor import Predictor
from .batcher import Batcher, Closed, Full
from .metrics import Metrics
from .question import Limits, Question, Refused, rows_of

PAGE = Path(__file__).with_name("page.html")
# The page is one file: nothing is fetched from elsewhere, and texts of clients cannot make it do so.
PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'"
}
JSON = "application/json"
DAY = 86_400
FIRST = 20
"""Texts after which the service looks once whether its tokenizer can read them."""
GONE = 499
"""Only in the metrics: the client went away before its answer."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """How the service batches and what it refuses.

    max_batch: tokens of a batch, by estimate. max_wait: seconds that a text waits for others while the model is idle.
    queue: texts that may wait. timeout: seconds for one request. limits: of one request.
    Raises TrimformerError for useless times: NaN, infinite, or more waiting than the timeout leaves.
    """

    max_batch: int = 4096
    max_wait: float = 0.002
    queue: int = 2048
    timeout: float = 30.0
    limits: Limits = dataclasses.field(default_factory=Limits)

    def __post_init__(self) -> None:
        if not 0 < self.timeout <= DAY:
            raise TrimformerError(f"The --timeout must be above 0 and at most {DAY:,} seconds, got {self.timeout:g}.")
        if not 0 <= self.max_wait < self.timeout:
            raise TrimformerError(
                f"A text would wait {self.max_wait * 1e3:g} ms for others, but a request has {self.timeout:g} s: "
                "choose a shorter --max-wait-ms."
            )


class ServedModel:
    """A model behind its queue. path: where it is asked. name: as the user gave it.

    workers: predictors of it, each of which answers a batch at a time.
    """

    def __init__(
        self,
        path: str,
        name: str,
        workers: Sequence[Predictor],
        settings: Settings,
        metrics: Metrics,
        turns: threading.Semaphore,
    ) -> None:
        self.path, self.settings, self.metrics = path, settings, metrics
        predictor = self.predictor = workers[0]
        self.first_rows: list[Row] | None = []
        self.about = {
            "name": name,
            "kind": predictor.kind,
            "backend": predictor.backend,
            "attention": predictor.config.attention_kinds,
        }
        for worker in workers:  # the first pass is a slow one
            second = "a" if worker.passages is None else worker.passages.store.names[0]
            reads_two = worker.passages is not None or KINDS[worker.kind].columns[1] is not None
            list(worker.stream([("a", second) if reads_two else "a"]))
        self.executed = [worker.executed for worker in workers if worker.executed is not None]
        for executed in self.executed:
            executed.take()  # nobody asked for that text
        self.batcher = Batcher(
            [worker.stream for worker in workers],
            turns,
            max_batch=settings.max_batch,
            max_wait=settings.max_wait,
            capacity=settings.queue,
            observe=self._observe,
        )
        metrics.queue.labels(path).set_function(lambda: self.batcher.waiting)

    def _observe(self, rows: int) -> None:
        """A batch of so many rows was answered."""
        self.metrics.batch.labels(self.path).observe(rows)
        for executed in self.executed:
            for layers in Counter(dict(enumerate(executed.take(), 1))).elements():
                self.metrics.layers.labels(self.path).observe(layers)

    async def respond(self, request: Request) -> Response:
        """The answers as JSON, in the form of ``trimformer predict --json``, or the sentence of an error."""
        start = time.perf_counter()
        try:
            done = await self._ask(request)
            answers = ", ".join([line(answer, as_json=True) for answer in done.answers])
            timing = f"queue;dur={done.waited * 1e3:.2f}, model;dur={done.ran * 1e3:.2f}"
            code, response = 200, Response(f'{{"answers": [{answers}]}}', 200, {"Server-Timing": timing}, JSON)
            self.metrics.seconds.labels(self.path).observe(time.perf_counter() - start)
        except Refused as refused:
            code, response = refused.code, _error(refused)
        self.metrics.requests.labels(self.path, code).inc()
        return response

    def _look_at(self, rows: Sequence[Row]) -> None:
        """Once, when there are some rows, say what is odd about how they are read, beside the answers."""
        if self.first_rows is None:
            return
        self.first_rows += rows[:FIRST]
        if len(self.first_rows) >= FIRST:
            asyncio.get_running_loop().run_in_executor(None, _say, self.predictor, self.first_rows)
            self.first_rows = None

    async def _ask(self, request: Request) -> Answered:
        limits, timeout = self.settings.limits, self.settings.timeout
        try:
            async with asyncio.timeout(timeout):
                body = await _body(request, limits.body)
        except TimeoutError as error:
            raise Refused(408, f"The body did not arrive within {timeout:g} s.") from error
        except ClientDisconnect as error:
            raise Refused(GONE, "The client is gone.") from error
        rows = rows_of(body, self.predictor.kind, limits)
        if self.predictor.passages is not None:
            try:
                self.predictor.passages.check(rows)  # now, for a mistake would spoil the whole batch
            except TrimformerError as error:
                raise Refused(422, str(error)) from error
        if not rows:
            return Answered([], 0.0, 0.0)
        if len(rows) > self.settings.queue:
            raise Refused(422, f"{len(rows)} texts never fit into the queue: send at most {self.settings.queue}.")
        try:
            answer = asyncio.wrap_future(self.batcher.submit(rows))
        except Full as error:
            sentence = f"Too many texts are waiting (at most {self.settings.queue}): try again in a second."
            raise Refused(429, sentence, {"Retry-After": "1"}) from error
        except Closed as error:
            raise Refused(503, "The service is shutting down.") from error
        self._look_at(rows)
        gone = asyncio.ensure_future(request.receive())  # after the body comes only the end of the connection
        try:
            await asyncio.wait((answer, gone), timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
            if answer.done():
                return answer.result()
            if gone.done():
                raise Refused(GONE, "The client is gone.")
            raise Refused(504, f"There was no answer within {timeout:g} s: send fewer texts, or try again later.")
        except TrimformerError as error:
            raise Refused(422, str(error)) from error
        except Refused:
            raise
        except Exception as error:
            raise Refused(500, "The model failed on these texts; the log of the service says why.") from error
        finally:
            answer.cancel()
            gone.cancel()


def _say(predictor: Predictor, rows: Sequence[Row]) -> None:
    for note in predictor.reading_notes(rows):
        console.print(note, markup=False, soft_wrap=True)


def create_app(
    name: str,
    workers: Sequence[Predictor],
    settings: Settings,
    against: tuple[str, Sequence[Predictor]] | None = None,
) -> FastAPI:
    """The service for one model, with ``against`` also for another one to compare it with.

    workers: predictors of the model, each of which answers a batch at a time.
    Raises TrimformerError where the two are not of one kind.
    """
    kind = workers[0].kind
    if against is not None and against[1][0].kind != kind:
        raise TrimformerError(
            f"{name} was made for {kind}, {against[0]} for {against[1][0].kind}: compare models of one kind."
        )
    metrics, turns = Metrics(), threading.Semaphore(len(workers))
    models = [ServedModel("predict", name, workers, settings, metrics, turns)]
    if against is not None:
        models.append(ServedModel("against", *against, settings, metrics, turns))

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        for model in models:
            await asyncio.to_thread(model.batcher.close)

    app = FastAPIOffline(
        title="trimformer",
        description=f"Answers of {name} ({kind}).",
        lifespan=lifespan,
        redoc_url=None,
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    for model in models:
        app.post(f"/{model.path}", **_documentation(model))(model.respond)
    if kind == "embedding":
        app.post("/embed", **_documentation(models[0]))(models[0].respond)  # as other services of vectors call it
    page = PAGE.read_text(encoding="utf-8")

    @app.get("/", include_in_schema=False)
    async def index() -> Response:
        return HTMLResponse(page, headers=PAGE_HEADERS)

    @app.get("/health", summary="Ready, and with which model and back-end")
    async def health() -> dict[str, Any]:
        return {"status": "ready"} | {model.path: model.about for model in models}

    @app.get("/metrics", summary="Counters in the text format of Prometheus")
    async def counters() -> Response:
        return Response(metrics.text(), media_type=CONTENT_TYPE_LATEST)

    @app.exception_handler(HTTPException)
    async def refuse(request: Request, error: HTTPException) -> Response:
        return _error(Refused(error.status_code, f"{request.method} {request.url.path}: {error.detail}. See /docs."))

    return app


async def _body(request: Request, limit: int) -> bytes:
    too_long = Refused(413, f"The body is longer than {limit:,} bytes: send fewer texts at once.")
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limit:
        raise too_long
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > limit:
            raise too_long
    return bytes(body)


def _error(refused: Refused) -> Response:
    return JSONResponse({"error": refused.sentence}, refused.code, refused.headers)


def _documentation(model: ServedModel) -> dict[str, Any]:
    """What the OpenAPI page says of a path whose body and answer are read and written here, for speed."""
    sentence = {JSON: {"schema": {"type": "object", "properties": {"error": {"type": "string"}}}}}
    answer = TypeAdapter(KINDS[model.predictor.kind].answer).json_schema()
    answers = {"type": "object", "properties": {"answers": {"type": "array", "items": answer}}}
    codes = {
        400: "The body is not JSON",
        408: "The body came too slowly",
        413: "The body is too long",
        422: "The model cannot read these texts",
        429: "The queue is full: try again after Retry-After seconds",
        503: "Shutting down",
        504: "No answer in time",
    }
    return {
        "summary": f"Answers of {model.about['name']}",
        "response_class": Response,
        "openapi_extra": {
            "requestBody": {"required": True, "content": {JSON: {"schema": Question.model_json_schema()}}}
        },
        "responses": {
            200: {"description": "One answer for each text, in order", "content": {JSON: {"schema": answers}}}
        }
        | {code: {"description": text, "content": sentence} for code, text in codes.items()},
    }
