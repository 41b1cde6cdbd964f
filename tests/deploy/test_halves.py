"""A split model in two files: the same answers, and those of kept passages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.inference.test_passages import NAMES, PASSAGES, ROWS, numbers, write
from tests.models import tiny
from trimformer import TrimformerError, export
from trimformer.encoder.checkpoints.load import load_tokenizer, load_with_head
from trimformer.inference.passages.encode import encode_passages
from trimformer.inference.predictor import Predictor
from trimformer.methods.structure.deformer import split


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A split reader, its files, and passages."""
    place = tmp_path_factory.mktemp("halves")
    model = write(place / "model", "spans")
    files = export(load_with_head(model), place / "files", tokenizer=load_tokenizer(model))
    assert [file.precision for file in files] == ["fp32", "int8"]
    assert files[0].max_abs_error < 1e-4  # of the halves together, on rows whose texts are mixed
    encode_passages(model, PASSAGES, place / "kept", names=NAMES, precision="fp32")
    return place


def test_the_files_are_two_for_each_precision(folder: Path) -> None:
    names = ["model.int8.onnx", "model.lower.int8.onnx", "model.lower.onnx", "model.onnx"]
    assert sorted(file.name for file in (folder / "files").glob("*.onnx")) == sorted(names)


@pytest.mark.parametrize("passages", [False, True])
def test_answers_are_those_of_pytorch(folder: Path, passages: bool) -> None:
    kept = folder / "kept" if passages else None
    exported, torch_ = (Predictor(folder / name, passages=kept) for name in ("files", "model"))
    assert (exported.backend, torch_.backend) == ("onnx", "torch")
    texts = dict(zip(NAMES, PASSAGES, strict=True))
    rows = ROWS if passages else [(question, texts[name]) for question, name in ROWS]
    for batch in (1, 4, None):
        for ours, theirs in zip(exported.stream(rows, batch), torch_.stream(rows, batch), strict=True):
            assert vars(ours) == numbers(theirs)


def test_int8_answers_alone_are_those_in_a_batch(folder: Path) -> None:
    exported = Predictor(folder / "files", "onnx-int8", passages=folder / "kept")
    together = exported.predict([row[0] for row in ROWS], [row[1] for row in ROWS])
    alone = [exported.predict(*row)[0] for row in ROWS]
    assert [vars(one) for one in alone] == [numbers(one) for one in together]


def test_files_of_another_model_are_refused(tmp_path: Path, folder: Path) -> None:
    other: Any = write(tmp_path / "model", "spans", seed=0.1)
    encode_passages(other, PASSAGES, tmp_path / "kept", names=NAMES)
    with pytest.raises(TrimformerError, match="by another model, whose lower layers differ"):
        Predictor(folder / "files", passages=tmp_path / "kept")


def test_a_half_alone_is_refused(tmp_path: Path, folder: Path) -> None:
    for file in (folder / "files").iterdir():
        if ".lower." not in file.name:
            (tmp_path / file.name).write_bytes(file.read_bytes())
    with pytest.raises(TrimformerError, match=r"model.lower.onnx is not beside it: copy both files"):
        Predictor(tmp_path)


@pytest.mark.parametrize("to", ["openvino", "torch"])
def test_other_runtimes_are_refused(tmp_path: Path, to: str) -> None:
    with pytest.raises(TrimformerError, match="for ONNX Runtime alone"):
        export(split(tiny(), 2), tmp_path / "files", to=to)
