"""The service over HTTP: answers, refusals, time-outs, the end."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.inference.predict.test_kinds import write_model
from trimformer.errors import TrimformerError
from trimformer.inference.predict.labeller import line
from trimformer.inference.predictor import Predictor
from trimformer.inference.serve.app import Settings, create_app
from trimformer.inference.serve.question import Limits
from trimformer.inference.serve.server import make_server

from .conftest import Stub, counted, running, wait_for

CONTEXT = "the film was\ngood, the plot dull " * 5
QUESTIONS: dict[str, dict[str, Any]] = {
    "classification": {"texts": ["the film was good", "dull"]},
    "multilabel": {"texts": ["the film was good", ""]},
    "regression": {"texts": ["good", "bad"], "pairs": ["very good", "very dull"]},
    "tokens": {"texts": ["the  film was", ["good", "plot"], []]},
    "spans": {"texts": ["was the film good", ""], "pairs": [CONTEXT, ""]},
    "embedding": {"texts": ["the film was good", "dull"]},
}


@pytest.mark.parametrize("kind", list(QUESTIONS))
def test_every_kind_answers_as_predict_does(kind: str, tmp_path: Path) -> None:
    labels = {"classification": ["a", "b", "c"], "multilabel": ["a", "b"], "tokens": ["O", "X"]}.get(kind, [])
    predictor = Predictor(write_model(tmp_path / "model", kind, labels), threads=1)
    question = QUESTIONS[kind]
    expected = [json.loads(line(answer, as_json=True)) for answer in predictor.predict(**question)]
    with running(predictor) as client:
        response = client.post("/predict", json=question)
        assert response.json() == {"answers": expected}
        assert re.fullmatch(r"queue;dur=\d+\.\d\d, model;dur=\d+\.\d\d", response.headers["server-timing"])
        assert client.get("/health").json()["predict"]["kind"] == kind
        form = client.get("/openapi.json").json()["paths"]["/predict"]["post"]["responses"]["200"]
        described = form["content"]["application/json"]["schema"]["properties"]["answers"]["items"]["properties"]
        assert set(described) == set(expected[0])


def test_vectors_are_found_under_embed_too(tmp_path: Path) -> None:
    predictor = Predictor(write_model(tmp_path / "model", "embedding", []), threads=1)
    with running(predictor) as client:
        found = client.post("/embed", json={"texts": ["dull"]}).json()["answers"][0]["vector"]
        assert found == pytest.approx(predictor.vectors("dull")[0].tolist(), abs=2e-6)
        refused = client.post("/embed", json={"texts": ["dull"], "pairs": ["good"]})
        assert refused.status_code == 422
        assert "one text at a time" in refused.json()["error"]


def test_many_clients_get_the_answers_of_one(tmp_path: Path) -> None:
    predictor = Predictor(write_model(tmp_path / "model", "classification", ["a", "b"]), threads=1)
    texts = [" ".join(["good", "film", "very"][i % 3] for _ in range(1 + i % 30)) for i in range(60)]
    with running(predictor) as client, ThreadPoolExecutor(12) as pool:
        found = list(pool.map(lambda text: client.post("/predict", json={"texts": [text]}).json()["answers"][0], texts))
        assert counted(client, 'trimformer_requests_total{code="200",model="predict"}') == 60
        assert counted(client, 'trimformer_request_seconds_count{model="predict"}') == 60
        assert counted(client, 'trimformer_batch_texts_sum{model="predict"}') == 60
        assert 0 < counted(client, 'trimformer_batch_texts_count{model="predict"}') <= 60
        assert counted(client, 'trimformer_queue_texts{model="predict"}') == 0
    for answer, alone in zip(found, predictor.predict(texts), strict=True):
        assert answer["label"] == alone.label
        assert answer["scores"] == pytest.approx(alone.scores, abs=2e-6)


@pytest.mark.parametrize(
    ("body", "code", "sentence"),
    [
        (b'{"texts": ["a"', 400, "The body is not valid JSON (EOF"),
        (b'{"texts": ["\\ud800"]}', 400, "The body is not valid JSON (unexpected end of hex escape"),
        (b"[]", 422, "The body: input should be an object."),
        (b"{}", 422, 'texts is missing: send {"texts": ["'),
        (b'{"text": "a", "texts": []}', 422, "text is not known"),
        (b'{"texts": ["a", 1]}', 422, "texts[1]: input should be a valid string."),
        (b'{"texts": [["a"]]}', 422, "texts[0] is a list of words, which only a model that tags words reads."),
        (b'{"texts": ["a", ["b", 1]]}', 422, "texts[1][1]: input should be a valid string."),
        (b'{"texts": ["a"], "pairs": []}', 422, "Got 1 texts and 0 pairs: give one pair for each text."),
        (b'{"texts": ["a", "a", "a", "a"]}', 422, "4 texts are too many for one request: send at most 3."),
        (b'{"texts": ["abcdef"], "pairs": ["ghijk"]}', 422, "texts[0] has 11 characters: send at most 10."),
        (b'{"texts": ["%s"]}' % (b"a" * 100), 413, "The body is longer than 100 bytes: send fewer texts at once."),
    ],
)
def test_what_cannot_be_answered_is_refused_with_one_sentence(
    client: httpx2.Client, body: bytes, code: int, sentence: str
) -> None:
    metric = f'trimformer_requests_total{{code="{code}",model="predict"}}'
    before = counted(client, metric)
    response = client.post("/predict", content=body)
    assert response.status_code == code
    assert response.json()["error"].startswith(sentence)
    assert counted(client, metric) == before + 1


@pytest.fixture(scope="module")
def client() -> Iterator[httpx2.Client]:
    with running(Stub(), limits=Limits(body=100, texts=3, characters=10)) as client:
        yield client


def test_other_requests(client: httpx2.Client) -> None:
    assert client.post("/predict", json={"texts": []}).json() == {"answers": []}
    parts = client.post("/predict", content=iter([b'{"texts": ["', b"a" * 200, b'"]}']))
    assert parts.status_code == 413
    assert client.get("/predict").status_code == 405
    assert client.get("/nowhere").json() == {"error": "GET /nowhere: Not Found. See /docs."}
    assert client.get("/health").json()["status"] == "ready"


@pytest.mark.parametrize(
    ("kind", "question", "sentence"),
    [
        ("tokens", {"texts": ["a"], "pairs": ["b"]}, "This model tags words and reads no pairs"),
        ("spans", {"texts": ["a"]}, "This model answers questions: give their contexts as pairs."),
    ],
)
def test_pairs_fit_the_kind(stub: Stub, kind: str, question: Any, sentence: str) -> None:
    stub.kind = kind  # type: ignore[misc]
    with running(stub) as client:
        response = client.post("/predict", json=question)
        assert (response.status_code, response.json()["error"].startswith(sentence)) == (422, True)


def test_a_full_queue_refuses_and_says_when_to_come_again(stub: Stub) -> None:
    with running(stub, queue=3) as client, ThreadPoolExecutor(2) as pool:
        stub.free.clear()
        first = pool.submit(client.post, "/predict", json={"texts": ["a"]})
        wait_for(lambda: len(stub.batches) == 2)  # the first of all was the service's own
        waiting = pool.submit(client.post, "/predict", json={"texts": ["b", "c"]})
        wait_for(lambda: counted(client, 'trimformer_queue_texts{model="predict"}') == 2)
        refused = client.post("/predict", json={"texts": ["d", "e"]})
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
        assert "Too many texts are waiting" in refused.json()["error"]
        never = client.post("/predict", json={"texts": ["d"] * 4})
        assert (never.status_code, never.json()["error"][:12]) == (422, "4 texts neve")
        stub.free.set()
        assert [len(one.result(20).json()["answers"]) for one in (first, waiting)] == [1, 2]


def test_no_answer_in_time(stub: Stub) -> None:
    with running(stub, timeout=0.2) as client:
        stub.free.clear()
        late = [client.post("/predict", json={"texts": [text]}) for text in ("running", "waiting")]
        assert [response.status_code for response in late] == [504, 504]
        assert late[1].json()["error"].startswith("There was no answer within 0.2 s")
        assert counted(client, 'trimformer_queue_texts{model="predict"}') == 0
        stub.free.set()
        assert client.post("/predict", json={"texts": ["next"]}).status_code == 200
    assert ["waiting"] not in stub.batches


def test_a_slow_body(stub: Stub) -> None:
    with (
        running(stub, timeout=0.2) as client,
        socket.create_connection((client.base_url.host, client.base_url.port)) as raw,
    ):
        raw.sendall(b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: 50\r\n\r\n{")
        raw.settimeout(20)
        assert raw.recv(1000).startswith(b"HTTP/1.1 408 ")


def test_the_work_of_a_client_that_is_gone_is_dropped(stub: Stub) -> None:
    with running(stub) as client, ThreadPoolExecutor(1) as pool:
        stub.free.clear()
        first = pool.submit(client.post, "/predict", json={"texts": ["first"]})
        wait_for(lambda: len(stub.batches) == 2)
        with pytest.raises(httpx2.ReadTimeout):
            client.post("/predict", json={"texts": ["gone"]}, timeout=0.1)
        wait_for(lambda: counted(client, 'trimformer_requests_total{code="499",model="predict"}') == 1)
        stub.free.set()
        assert first.result(20).status_code == 200
    assert ["gone"] not in stub.batches


def test_a_failure_of_the_model_is_no_secret(stub: Stub, caplog: pytest.LogCaptureFixture) -> None:
    with running(stub) as client:
        response = client.post("/predict", json={"texts": ["bad"]})
        assert (response.status_code, list(response.json())) == (500, ["error"])
        assert client.post("/predict", json={"texts": ["good"]}).status_code == 200
    assert "no such text" in caplog.text


def test_the_end_waits_for_what_was_accepted(stub: Stub) -> None:
    with running(stub) as client, ThreadPoolExecutor(2) as pool:
        stub.free.clear()
        asked = [pool.submit(client.post, "/predict", json={"texts": [text]}) for text in ("a", "bb")]
        wait_for(lambda: sum(map(len, stub.batches)) + counted(client, 'trimformer_queue_texts{model="predict"}') == 3)
        client.stop()  # type: ignore[attr-defined]
        wait_for(lambda: refused(client))
        stub.free.set()
        assert [one.result(20).json()["answers"][0]["score"] for one in asked] == [1, 2]


def refused(client: httpx2.Client) -> bool:
    try:
        socket.create_connection((client.base_url.host, client.base_url.port)).close()
    except ConnectionRefusedError:
        return True
    return False


def test_two_models_side_by_side(stub: Stub) -> None:
    with running(stub, against=Stub()) as client:
        assert client.post("/against", json={"texts": ["abc"]}).json()["answers"][0]["score"] == 3
        assert client.get("/health").json()["against"]["name"] == "another"
    other = Stub()
    other.kind = "regression"  # type: ignore[misc]
    with pytest.raises(TrimformerError, match="compare models of one kind"):
        create_app("one", [stub], Settings(), against=("two", [other]))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"timeout": float("inf")}, "The --timeout must be above 0 and at most 86,400 seconds, got inf."),
        ({"timeout": float("nan")}, "The --timeout must be above 0"),
        ({"max_wait": float("inf")}, "A text would wait inf ms for others, but a request has 30 s"),
        ({"max_wait": float("nan")}, "A text would wait nan ms for others"),
        ({"timeout": 0.5, "max_wait": 1}, "A text would wait 1000 ms for others, but a request has 0.5 s"),
    ],
)
def test_times_that_are_no_use(settings: Any, sentence: str) -> None:
    with pytest.raises(TrimformerError) as caught:
        Settings(**settings)
    assert str(caught.value).startswith(sentence)


def test_the_end_leaves_time_for_a_body_and_its_answer(stub: Stub) -> None:
    server = make_server(create_app("a model", [stub], Settings()), timeout=30)  # type: ignore[arg-type]
    assert server.config.timeout_graceful_shutdown is not None
    assert server.config.timeout_graceful_shutdown > 60


def test_pages_fetch_nothing_from_elsewhere(client: httpx2.Client) -> None:
    page = client.get("/")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert not re.search(r"https?://|(?:src|href)=[\"']?//|@import|url\(", page.text)
    docs = client.get("/docs").text
    fetched = re.findall(r"(?:src|href)=\"([^\"]+)\"", docs)
    assert fetched
    for target in fetched:
        assert target.startswith("/")
        assert client.get(target).status_code == 200
    assert set(client.get("/openapi.json").json()["paths"]) == {"/predict", "/health", "/metrics"}
