"""Predictions: order, windows, backends, and clear words for what is missing."""

from __future__ import annotations

import random
import shutil
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.inference.predict.test_kinds import write_model
from tests.wordmodels import WORDS, tiny_body, tiny_classifier, tiny_tokenizer
from trimformer.encoder.checkpoints.load import with_labels
from trimformer.errors import TrimformerError
from trimformer.inference import predictor as module
from trimformer.inference.predictor import WINDOW, Predictor


def texts(count: int) -> list[str]:
    draw = random.Random(0)
    return [" ".join(draw.choices(WORDS, k=draw.randint(1, 30))) for _ in range(count)]


@pytest.mark.parametrize(
    ("backend", "batch"), [("auto", None), ("torch", 2), ("torch", None), ("onnx", 7), ("openvino", 3)]
)
def test_batches_and_backends_agree_with_one_by_one(
    saved: Path, backend: str, batch: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    reference = Predictor(saved / "model", "torch")
    rows = texts(75)
    alone = [reference.predict([text])[0] for text in rows]
    monkeypatch.setattr(module, "WINDOW", 30)
    together = Predictor(saved / "model", backend, threads=1).predict(rows, batch_size=batch)
    for one, other in zip(alone, together, strict=True):
        assert one.label == other.label
        assert one.scores == pytest.approx(other.scores, abs=1e-5)
        assert sum(one.scores.values()) == pytest.approx(1)
        assert one.score == max(one.scores.values())


@pytest.mark.parametrize("backend", ["torch", "onnx", "openvino"])
def test_many_threads_get_the_answers_of_one(saved: Path, backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    predictor = Predictor(saved / "model", backend, threads=1)
    rows = texts(120)
    parts = [rows[start : start + 1 + start % 7] for start in range(0, 110, 3)]
    expected = [predictor.predict(part) for part in parts]
    tokenise, busy = module.tokenise, threading.Lock()

    def alone(*given: Any) -> Any:
        assert busy.acquire(blocking=False), "a tokenizer serves one thread at a time"
        try:
            time.sleep(0.001)
            return tokenise(*given)
        finally:
            busy.release()

    monkeypatch.setattr(module, "tokenise", alone)
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(predictor.predict, parts)) == expected


def test_auto_takes_onnx_and_int8_only_when_asked(saved: Path) -> None:
    assert Predictor(saved / "model").backend == "onnx"
    assert Predictor(saved / "onnx", "onnx-int8").predict(["good film"])[0].label in {"LABEL_0", "LABEL_1", "LABEL_2"}


def test_auto_takes_openvino_where_there_is_no_onnx(saved: Path, tmp_path: Path) -> None:
    shutil.copytree(saved / "model", tmp_path / "model")
    assert Predictor(tmp_path / "model").backend == "torch"
    shutil.copytree(saved / "openvino", tmp_path / "openvino")
    assert Predictor(tmp_path / "model").backend == "openvino"
    (tmp_path / "model" / "spiece.model").touch()  # what a tokenizer reads counts, too
    files = [path.name for path in module.model_files(tmp_path / "model", "openvino-bf16")]
    assert files[-3:] == ["spiece.model", "model.xml", "model.bin"]


def test_stream_reads_one_window_ahead(saved: Path) -> None:
    read = 0

    def endless() -> Iterator[str]:
        nonlocal read
        while True:
            read += 1
            yield "good film"

    stream = Predictor(saved / "model").stream(endless(), batch_size=3)
    for _ in range(2):
        next(stream)
    assert read == WINDOW


def test_pairs_long_texts_and_empty_input(saved: Path) -> None:
    predictor = Predictor(saved / "model")
    first, second = predictor.predict(["a film", "a film"], ["it was good", "never again"])
    assert first.scores != second.scores
    assert predictor.predict(["good " * 5000])[0].label
    assert predictor.predict([]) == []
    with pytest.raises(TrimformerError, match="1 texts and 2 pairs"):
        predictor.predict(["a"], ["b", "c"])


def test_regression_gives_a_number(tmp_path: Path) -> None:
    config = with_labels(tiny_classifier("mean").config, (), "regression")
    model = type(tiny_classifier())(config)
    model.save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    (prediction,) = Predictor(tmp_path).predict(["good film"])
    assert prediction.label is None
    assert prediction.scores == {}


def test_clear_words_for_what_is_wrong(saved: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(saved / "model", folder)
    with pytest.raises(TrimformerError, match=r"There is no .*model\.onnx: export"):
        Predictor(folder, "onnx")
    (folder / "model.onnx").write_bytes((saved / "onnx" / "model.onnx").read_bytes()[:5000])
    with pytest.raises(TrimformerError, match="damaged or cut short"):
        Predictor(folder)
    with pytest.raises(TrimformerError, match="Unknown backend 'tpu'"):
        Predictor(folder, "tpu")
    tiny_body().save_pretrained(tmp_path / "body")
    tiny_tokenizer().save_pretrained(tmp_path / "body")
    with pytest.raises(TrimformerError, match="no task head"):
        Predictor(tmp_path / "body")


@pytest.mark.parametrize("kind", ["classification", "tokens"])
def test_numbers_that_mean_nothing_are_no_answer(kind: str, tmp_path: Path) -> None:
    predictor = Predictor(write_model(tmp_path, kind, ["a", "b"]), threads=1)
    next(predictor.session.model.parameters()).data.fill_(float("nan"))
    with pytest.raises(TrimformerError, match="not finite"):
        predictor.predict(["the film"])


def test_a_plain_string_is_one_text_and_what_is_missing_gets_a_sentence(saved: Path) -> None:
    predictor = Predictor(saved / "model", "torch")
    assert predictor.predict(WORDS[0]) == predictor.predict([WORDS[0]])
    for missing in (None, float("nan"), ("a", None)):
        with pytest.raises(TrimformerError, match="where a text is expected"):
            predictor.predict(["a", missing])  # type: ignore[list-item]
