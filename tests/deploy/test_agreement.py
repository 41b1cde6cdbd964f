"""Files that answer otherwise than fp32: how that is counted, and that they are never recommended in silence."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.models import tiny
from tests.tinymodel import words_tokenizer
from trimformer.deploy import agreement as module
from trimformer.deploy.export import ExportedFile, export, warnings_of
from trimformer.deploy.onnx import random_inputs
from trimformer.inference.batches import inputs, tokenise
from trimformer.measure.bench.target import MeasuredFile, choose, export_for
from trimformer.pipeline import results
from trimformer.recipe.settings import ExportSettings
from trimformer.tasks.cuts import Cuts
from trimformer.tasks.data import Task
from trimformer.tasks.encode import encode
from trimformer.tasks.kinds import KINDS
from trimformer.tasks.settings import TaskSettings
from trimformer.tasks.task import load_validation

WORDS = ["good", "bright", "bad", "dull", "the", "film", "was", "plot"]


def texts() -> list[str]:
    generator = np.random.default_rng(0)
    return [" ".join(generator.choice(WORDS, size=generator.integers(2, 9))) for _ in range(60)]


def outliers(of_texts: bool = True) -> Any:
    """A classifier whose feed-forward blocks have one large bias each: fp32 never sees it, int8 sees little else.

    Each of two labels is the answer to half of the texts, or of random inputs.
    """
    model = tiny(2, labels=2)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith("ffn_in.bias"):
                weight[0] = 3000.0
            if name.endswith("ffn_out.weight"):
                weight *= 5
                weight[:, 0] = 0
        logits = model(**(asked() if of_texts else random_inputs(model.config, 64, 20, padded=True))).logits
        model.head.output.bias[0] += (logits[:, 1] - logits[:, 0]).median() + 0.003  # the median itself is no tie
    return model


def asked() -> Any:
    """The texts as a batch."""
    return inputs(tokenise("classification", texts(), words_tokenizer(), Cuts(40, "head", 0)), np.arange(60))


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Texts with the labels that the model gives them in fp32, so that fp32 is right on all of them."""
    model = outliers()
    labels = model(**asked()).logits.argmax(dim=1).tolist()
    lines = [f"{text},{model.config.label_names[label]}" for text, label in zip(texts(), labels, strict=True)]
    file = tmp_path_factory.mktemp("rows") / "rows.csv"
    file.write_text("\n".join(["text,label", *lines]), encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def exported(rows: Path, tmp_path_factory: pytest.TempPathFactory) -> list[ExportedFile]:
    settings = TaskSettings(validation=str(rows), text="text", label="label")
    return export(outliers(), tmp_path_factory.mktemp("files"), tokenizer=words_tokenizer(), task=settings)


def test_export_warns_and_the_choice_is_fp32(exported: list[ExportedFile]) -> None:
    exact, int8 = exported
    assert (exact.score, exact.agreement) == (1, 1)
    assert int8.score is not None
    assert int8.score < 0.9
    assert int8.agreement == pytest.approx(int8.score)  # of the rows, not of random inputs
    (said,) = warnings_of(exported)
    assert said.startswith("WARNING: onnx-int8 answers only ")
    assert said.endswith("% of the validation rows as fp32 does, so that it is not recommended.")
    fast = [MeasuredFile(exact, [], exact.bytes), MeasuredFile(int8, [], int8.bytes)]
    assert choose(fast, max_drop=100).file is exact


def test_compress_warns(exported: list[ExportedFile], rows: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("load", "load_tokenizer"):
        monkeypatch.setattr(results, name, lambda _: None)
    monkeypatch.setattr(results, "export", lambda *_, **__: exported)
    settings = TaskSettings(validation=str(rows), text="text", label="label")
    task, examples = load_validation(settings, outliers().config.label_names)
    data = encode(task, examples, words_tokenizer(), 40)
    files = results.export_model(ExportSettings(), rows.parent, exported[0].path.parent, task, data)
    assert [file.label_agreement for file in files] == pytest.approx([file.agreement for file in exported])
    (said,) = results.warnings_of(files, "accuracy")
    assert said.startswith("WARNING: ")
    assert "for 100.00: use the fp32 file." in said


def test_without_data_the_smallest_is_not_taken_blindly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trimformer.measure.bench.target.available_backends", lambda: ["onnx", "onnx-int8"])
    choice = export_for("size", outliers(of_texts=False), tmp_path)
    assert choice.chosen.backend == "onnx"
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]
    assert choice.notes[0].startswith("WARNING: onnx-int8 answers only ")
    assert "of the random inputs as fp32 does" in choice.notes[0]
    assert "give data (--validation or --task)" in choice.notes[1]


def same(kind: str, exact: Any, other: Any, data: Any = None) -> list[bool]:
    found: list[bool] = KINDS[kind].same(data, np.asarray(exact, dtype=float), np.asarray(other, dtype=float)).tolist()
    return found


def test_what_is_the_same_answer() -> None:
    assert same("classification", [[1, 2], [2, 1]], [[1, 9], [1, 2]]) == [True, False]
    assert same("multilabel", [[1, -1], [1, 1]], [[9, -9], [1, -1]]) == [True, False]
    assert same("tokens", [[1, 2], [2, 1]], [[1, 9], [1, 2]]) == [True, False]


def test_numbers_are_compared_in_their_own_standard_deviations() -> None:
    exact = 1000 * np.array([[-1.0], [1.0]])  # of a standard deviation of 1000
    assert same("regression", exact, exact + 190) == [True, True]
    assert same("regression", exact, exact + np.array([[0], [210]])) == [True, False]
    assert same("regression", np.ones((3, 1)), np.ones((3, 1)) + 1e-6) == [True] * 3  # rounding of a constant
    far = np.array([[200_000.0], [200_010.0]])  # far from 0, the spread still decides
    assert same("regression", far, far[::-1]) == [False, False]


def test_wrong_answers_of_spans_are_compared_too(tmp_path: Path) -> None:
    tokenizer = words_tokenizer()
    data = tokenise("spans", [("good", "the film was dull")], tokenizer, Cuts(40, "head", 8))
    exact = np.zeros((len(data.ids), 2))
    exact[3] = 5  # the
    other = np.zeros((len(data.ids), 2))
    other[4] = 5  # film
    assert module.agreement(data, exact, exact) == 1
    assert module.agreement(data, exact, other) == 0


def test_the_rule() -> None:
    assert module.agrees(49 / 50)
    assert not module.agrees(0.9799)
    assert module.percent(0.9799) == "97.9 %"  # never rounded up to what would be enough


def test_a_task_of_numbers_has_an_agreement(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """compress: of made-up files, one of which answers with other numbers."""
    data = tokenise("regression", ["good film", "bad film", "dull"], words_tokenizer(), Cuts(40, "head", 0))
    labels = np.array([1.0, 2.0, 3.0], dtype=np.float32)
    files = [
        ExportedFile(tmp_path / name, backend, precision, 1, 0.0, None, 1.0)
        for name, backend, precision in (("a", "onnx", "fp32"), ("b", "onnx-int8", "int8"))
    ]
    answers = {"a": labels, "b": labels[::-1]}
    for name in ("load", "load_tokenizer"):
        monkeypatch.setattr(results, name, lambda _: None)
    monkeypatch.setattr(results, "export", lambda *_, **__: files)
    monkeypatch.setattr(results, "open_backend", lambda path, _: type("S", (), {"run": path.name}))
    monkeypatch.setattr(results, "as_model", lambda name: name)
    monkeypatch.setattr(results, "predict_logits", lambda name, *_, **__: answers[name][:, None])
    task = Task("t", "regression", (), ("pearson", "spearman", "mse"), "")
    data = dataclasses.replace(data, labels=labels)
    found = results.export_model(ExportSettings(), tmp_path, tmp_path, task, data)
    assert [file.label_agreement for file in found] == [1, pytest.approx(1 / 3)]
    assert len(results.warnings_of(found, "pearson")) == 1
