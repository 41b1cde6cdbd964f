"""A split model in two files: the same answers, and those of kept passages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.deploy.test_agreement import outliers
from tests.inference.test_passages import NAMES, PASSAGES, ROWS, numbers, write
from tests.models import tiny
from trimformer import TrimformerError, export, trim
from trimformer.deploy.halves import lower_half
from trimformer.deploy.onnx import random_inputs
from trimformer.encoder.checkpoints.load import load_tokenizer, load_with_head
from trimformer.encoder.model.exported import ExportedEncoder, LaterSegment
from trimformer.inference.passages.encode import encode_passages
from trimformer.inference.predictor import Predictor
from trimformer.inference.runtimes.backends import parts
from trimformer.inference.runtimes.onnx import OnnxSession
from trimformer.methods.structure.deformer import split


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A split reader, its files, and passages."""
    place = tmp_path_factory.mktemp("halves")
    model = write(place / "model", "spans")
    files = export(load_with_head(model), place / "files", tokenizer=load_tokenizer(model))
    assert [file.precision for file in files] == ["fp32", "int8"]
    (other,) = export(load_with_head(model), place / "files", "openvino", ["fp32"], load_tokenizer(model))
    assert max(files[0].max_abs_error, other.max_abs_error) < 1e-4  # of both halves, on rows whose texts are mixed
    encode_passages(model, PASSAGES, place / "kept", names=NAMES, precision="fp32")
    return place


def test_the_files_are_two_for_each_precision(folder: Path) -> None:
    names = ["model.int8.onnx", "model.lower.int8.onnx", "model.lower.onnx", "model.onnx"]
    assert sorted(file.name for file in (folder / "files").glob("*.onnx")) == sorted(names)
    (path,) = {file.with_suffix(".xml") for file in (folder / "files").glob("model.*") if file.stem == "model"}
    assert [part.name for part in parts(path)] == ["model.xml", "model.bin", "model.lower.xml", "model.lower.bin"]
    assert all(part.is_file() for part in parts(path))


@pytest.mark.parametrize("backend", ["onnx", "openvino"])
@pytest.mark.parametrize("passages", [False, True])
def test_answers_are_those_of_pytorch(folder: Path, passages: bool, backend: str) -> None:
    kept = folder / "kept" if passages else None
    exported = Predictor(folder / "files", backend, passages=kept)
    torch_ = Predictor(folder / "model", "torch", passages=kept)
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


@pytest.mark.parametrize("backend", ["onnx", "onnx-int8", "openvino"])
def test_files_of_another_model_are_refused(tmp_path: Path, folder: Path, backend: str) -> None:
    other: Any = write(tmp_path / "model", "spans", seed=0.1)
    encode_passages(other, PASSAGES, tmp_path / "kept", names=NAMES)
    with pytest.raises(TrimformerError, match="by another model, whose lower layers differ"):
        Predictor(folder / "files", backend, passages=tmp_path / "kept")


@pytest.mark.parametrize(("backend", "name"), [("onnx", "model.lower.onnx"), ("openvino", "model.lower.xml")])
def test_a_half_alone_is_refused(tmp_path: Path, folder: Path, backend: str, name: str) -> None:
    for file in (folder / "files").iterdir():
        if ".lower." not in file.name:
            (tmp_path / file.name).write_bytes(file.read_bytes())
    with pytest.raises(TrimformerError, match=f"{name} is not beside it: copy both files"):
        Predictor(tmp_path, backend)


def test_threads_of_halves_do_not_spin(folder: Path) -> None:
    """Each half has threads of its own, which would be in the way of the other one's."""
    for name in ("model.onnx", "model.lower.onnx", "model.int8.onnx", "model.lower.int8.onnx"):
        options = OnnxSession(folder / "files" / name)._session.get_session_options()
        assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"


def test_the_first_token_alone_is_computed_behind_the_last_layer_that_mixes() -> None:
    """As in PyTorch, where the layers above the split mix no tokens."""
    model: Any = split(trim(tiny(3), attention={1: "none", 2: "none"}), 1)
    one_text = random_inputs(model.config, 2, 9) | {"token_type_ids": torch.zeros(2, 9, dtype=torch.int64)}
    sizes: list[int] = []
    with torch.no_grad():
        expected, states = model(**one_text).logits, ExportedEncoder(lower_half(model))(**one_text)
        model.config.split_layers = 0
        upper = LaterSegment(model, 1, 3)
        upper.layers["1"].register_forward_hook(lambda _, inputs, __: sizes.append(inputs[0].shape[1]))
        torch.testing.assert_close(upper(states, one_text["attention_mask"]), expected)
    assert sizes == [1]


def test_torch_export_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrimformerError, match="export it for ONNX Runtime or OpenVINO"):
        export(split(tiny(), 2), tmp_path / "files", to="torch")


def with_outliers() -> Any:
    """A split model that int8 answers wrongly, each of two labels for half of the inputs."""
    model = split(outliers(of_texts=False), 1, 4)
    with torch.no_grad():
        logits = model(**random_inputs(model.config, 64, 20, padded=True)).logits
        model.head.output.bias[0] += (logits[:, 1] - logits[:, 0]).median() + 0.003
    return model


def test_maps_of_both_halves_that_cost_answers_stay_in_fp32(unsmoothed: None, tmp_path: Path) -> None:
    (int8,) = export(with_outliers(), tmp_path, precision=["int8"])
    assert int8.mended is not None
    assert int8.agreement is not None
    assert int8.agreement >= 0.98 > int8.mended.before
    assert {"layers.0.ffn_out", "layers.1.ffn_out"} <= {*int8.mended.kept}  # of the lower half, and of the upper one
    assert int8.mended.of == 15


@pytest.mark.slow
def test_openvino_int8_of_both_halves(tmp_path: Path) -> None:
    (int8,) = export(split(tiny(), 1, 4), tmp_path, "openvino", ["int8"])
    assert int8.agreement is not None
    assert int8.agreement > 0.9
