"""What is said of a tokenizer that cannot read the texts, by everything that reads them, and of ids it cannot have."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest

from tests.inference.serve.conftest import Stub
from tests.models import tiny
from tests.tinymodel import words_tokenizer, write_csv, write_stock_bert
from trimformer import evaluate
from trimformer.deploy.scoring import Scorer
from trimformer.encoder.checkpoints.load import load_tokenizer, load_with_head
from trimformer.errors import TrimformerError
from trimformer.inference.predict.command import predict_file
from trimformer.inference.predictor import Predictor
from trimformer.inference.serve import app
from trimformer.measure.bench.bench import Texts, _data
from trimformer.measure.bench.score import score_variants
from trimformer.measure.bench.variants import Variant
from trimformer.saved.tokenizer_check import check_ids
from trimformer.tasks.settings import TaskSettings

UNKNOWN = "are unknown to the tokenizer"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_stock_bert(tmp_path_factory.mktemp("models") / "reviews", ["neg", "pos"])


@pytest.fixture
def greek(tmp_path: Path) -> Path:
    """Rows of which the tokenizer knows no word."""
    file = write_csv(tmp_path / "rows.csv", rows=20)
    lines = file.read_text().splitlines()
    file.write_text(
        "\n".join([lines[0], *(f"καλή ταινία {i},{line.split(',')[1]}" for i, line in enumerate(lines[1:]))])
    )
    return file


def rows(file: Path) -> TaskSettings:
    return TaskSettings(validation=str(file), text="review", label="stars")


def test_evaluate(model: Path, greek: Path) -> None:
    assert any(UNKNOWN in note for note in evaluate(model, rows(greek)).notes)


def test_export(model: Path, greek: Path) -> None:
    scorer = Scorer(load_with_head(model), load_tokenizer(model), rows(greek))
    assert any(UNKNOWN in note for note in scorer.notes)


def test_bench(model: Path, greek: Path) -> None:
    net = load_with_head(model)
    variant = Variant("m", "torch", lambda batch: net(**batch).logits.detach().numpy())
    (score,) = score_variants([variant], {"m": model}, rows(greek))
    assert UNKNOWN in score.said
    assert score.agreement == 1
    (note,) = _data({"m": model}, Texts(greek, "review"), None)[2]
    assert UNKNOWN in note


def test_predict_says_it_once(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trimformer.inference.predict.rows.PIECE_LINES", 4)
    (tmp_path / "texts.txt").write_text("καλή ταινία\n" * 10, encoding="utf-8")
    said: list[str] = []
    monkeypatch.setattr("trimformer.inference.predict.command.console.print", lambda text, **_: said.append(text))
    predict_file(str(model), str(tmp_path / "texts.txt"), out=tmp_path / "labels.txt", backend="torch")
    assert len([text for text in said if UNKNOWN in text]) == 1
    assert len((tmp_path / "labels.txt").read_text().splitlines()) == 10


def test_serve_looks_once_at_the_first_texts() -> None:
    stub = Stub()

    async def ask() -> None:
        served = object.__new__(app.ServedModel)
        served.predictor, served.first_rows = stub, []  # type: ignore[assignment]
        served._look_at(["a"] * (app.FIRST - 1))
        assert stub.read is None
        served._look_at(["b", "c"])
        served._look_at(["never"] * app.FIRST)

    asyncio.run(ask())
    assert stub.read is not None
    assert stub.read[-2:] == ["b", "c"]


def test_a_tokenizer_that_a_program_brings_along(model: Path, tmp_path: Path) -> None:
    other = words_tokenizer()
    other.add_tokens([f"new{i}" for i in range(40)])
    predictor = Predictor(model, "torch")
    assert predictor.predict("good film")
    predictor.tokenizer = other
    with pytest.raises(TrimformerError, match="gave the id 59, and the encoder has embeddings for the ids below 30"):
        predictor.predict("good new39")
    file = write_csv(tmp_path / "rows.csv", rows=20)
    file.write_text(file.read_text().replace("film", "new39"))
    net = tiny(1, labels=2, id2label={0: "neg", 1: "pos"})
    with pytest.raises(TrimformerError, match="gave the id 59, and the encoder has embeddings for the ids below 50"):
        Scorer(net, other, rows(file))


def test_segments_that_an_encoder_does_not_have() -> None:
    config = tiny(1).config
    check_ids(np.array([3]), np.array([1]), config)
    config.type_vocab_size = 1
    with pytest.raises(TrimformerError, match="gave the segment 1, and the encoder has 1"):
        check_ids(np.array([3]), np.array([1]), config)
