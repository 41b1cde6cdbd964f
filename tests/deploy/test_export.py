"""Export to every runtime: what is written, how it is checked, scored and calibrated."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.tinymodel import write_csv
from tests.wordmodels import tiny_body, tiny_classifier, tiny_tokenizer
from trimformer.deploy.export import export
from trimformer.deploy.openvino import read
from trimformer.deploy.quantize_openvino import _unquantized, samples
from trimformer.deploy.scoring import Scorer
from trimformer.errors import TrimformerError
from trimformer.inference.runtimes.backends import open_backend
from trimformer.tasks.settings import TaskSettings


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.slow
@pytest.mark.usefixtures("users_exporter")
def test_openvino_files_scored_on_a_task(tmp_path: Path) -> None:
    model = tiny_classifier(num_labels=2, id2label={0: "neg", 1: "pos"})
    settings = TaskSettings(data=str(write_csv(tmp_path / "reviews.csv")), text="review", label="stars")
    files = export(
        model, tmp_path / "out", "openvino", ["fp32", "bf16", "int8"], tokenizer=tiny_tokenizer(), task=settings
    )
    assert [file.backend for file in files] == ["openvino", "openvino-bf16", "openvino-int8"]
    assert names(tmp_path / "out") == [
        "config.json", "model.bin", "model.int8.bin", "model.int8.xml", "model.xml",
        "tokenizer.json", "tokenizer_config.json",
    ]  # fmt: skip
    fp32, bf16, int8 = files
    assert fp32.path == bf16.path == tmp_path / "out" / "model.xml"
    assert fp32.max_abs_error <= 1e-4 < int8.max_abs_error < 1
    weights = [(tmp_path / "out" / name).stat().st_size for name in ("model.bin", "model.int8.bin")]
    assert fp32.bytes > weights[0] > weights[1]
    assert (fp32.score_drop, fp32.calibration, int8.calibration) == (0, None, "training texts")
    assert int8.score is not None
    assert 0 <= int8.score <= 1


def test_calibration_sees_no_row_that_is_scored(tmp_path: Path) -> None:
    rows = [f"{'the ' * number}film,{'pos' if number % 2 else 'neg'}" for number in range(60)]  # no text twice
    (tmp_path / "reviews.csv").write_text("\n".join(["review,stars", *rows]), "utf-8")
    model = tiny_classifier(num_labels=2, id2label={0: "neg", 1: "pos"})
    settings = TaskSettings(data=str(tmp_path / "reviews.csv"), text="review", label="stars")
    scorer = Scorer(model, tiny_tokenizer(), settings)
    texts = scorer.training_texts()
    assert texts is not None
    assert len(texts) > len(scorer.validation)
    assert not set(texts.examples.texts) & set(scorer.validation.examples.texts)
    only = TaskSettings(validation=str(tmp_path / "reviews.csv"), text="review", label="stars")
    assert Scorer(model, tiny_tokenizer(), only).training_texts() is None
    (tmp_path / "dev.tsv").write_text("sentence\tlabel\nfilm\t1\nthe film\t0\n", "utf-8")
    model.config.id2label = {0: "negative", 1: "positive"}
    alone = Scorer(model, tiny_tokenizer(), TaskSettings(name="sst2", data=str(tmp_path)))
    assert (alone.training_texts(), alone.selection_rows()) == (None, None)
    shapes = [one["input_ids"].shape for one in samples(model.config, texts)]
    assert {batch for batch, _ in shapes} == {1}
    assert [n for _, n in shapes] == sorted(texts.lengths)


def test_of_many_training_rows_some_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [f"{'the ' * number}film,{'pos' if number % 2 else 'neg'}" for number in range(60)]
    (tmp_path / "reviews.csv").write_text("\n".join(["review,stars", *rows]), "utf-8")
    model = tiny_classifier(num_labels=2, id2label={0: "neg", 1: "pos"})
    settings = TaskSettings(data=str(tmp_path / "reviews.csv"), text="review", label="stars")
    every = Scorer(model, tiny_tokenizer(), settings).training_texts()
    monkeypatch.setattr("trimformer.deploy.scoring.TEXTS", 10)
    some = Scorer(model, tiny_tokenizer(), settings).training_texts()
    assert every is not None
    assert some is not None
    assert 10 <= len(some) < 20 < len(every)


def test_random_calibration_says_so(tmp_path: Path) -> None:
    (file,) = export(tiny_classifier("full", "mean"), tmp_path, "openvino", ["int8"])
    assert file.calibration == "random tokens"
    assert names(tmp_path) == ["model.int8.bin", "model.int8.xml"]


@pytest.mark.usefixtures("users_exporter")
def test_scores_means_and_convolutions_stay_unquantized(tmp_path: Path) -> None:
    export(tiny_classifier("full", "conv"), tmp_path, precision=["fp32"])
    found = _unquantized(read(tmp_path / "model.onnx"))
    assert len(found) == 4  # scores, weighted values, a mean, a convolution


def test_nothing_reports_to_the_makers(tmp_path: Path) -> None:
    export(tiny_body(), tmp_path, "openvino", ["int8"])
    assert "openvino" in sys.modules
    assert "openvino_telemetry" not in sys.modules


def test_the_archive_of_pytorch_is_exact(tmp_path: Path) -> None:
    (file,) = export(tiny_body(), tmp_path, "torch")
    assert file.max_abs_error <= 1e-4
    assert open_backend(file.path, "torch-export").output == "last_hidden_state"


def test_mistakes(tmp_path: Path) -> None:
    with pytest.raises(TrimformerError, match="Cannot export to 'tflite': use one of onnx, openvino, torch"):
        export(tiny_body(), tmp_path, "tflite")
    with pytest.raises(TrimformerError, match="There is no 'int4' for onnx: use some of fp32, int8"):
        export(tiny_body(), tmp_path, "onnx", ["fp32", "int4"])
    with pytest.raises(TrimformerError, match="needs a model with a task head and its tokenizer"):
        export(tiny_body(), tmp_path, task=TaskSettings(name="sentiment"))
    assert names(tmp_path) == []
