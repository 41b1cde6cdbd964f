"""Exported files agree with PyTorch for every shape, and nothing half-written is left."""

from __future__ import annotations

import importlib.util
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

import trimformer.deploy.export as deploy
from tests.models import with_layers
from tests.wordmodels import tiny_body, tiny_classifier
from trimformer.deploy.export import export
from trimformer.deploy.onnx import OPSET, random_inputs
from trimformer.encoder.checkpoints.load import with_labels
from trimformer.errors import TrimformerError
from trimformer.inference.runtimes.onnx import OnnxSession


def outputs(path: Path, model: Any, batch: int, length: int) -> tuple[np.ndarray, np.ndarray]:
    inputs = random_inputs(model.config, batch, length, padded=True, seed=length)
    with torch.inference_mode():
        expected = model(**inputs)[0].numpy()
    got = OnnxSession(path).run(inputs)
    real = slice(None) if "logits" in model(**inputs) else inputs["attention_mask"].bool().numpy()
    return got[real], expected[real]


@pytest.mark.usefixtures("users_exporter")
def test_parity_with_padding_and_any_shape(tmp_path: Path) -> None:
    model = tiny_classifier(num_labels=3)
    (file,) = export(model, tmp_path, precision=["fp32"])
    for batch, length in itertools.product([1, 3], [5, 40]):
        np.testing.assert_allclose(*outputs(file.path, model, batch, length), atol=1e-5)


@pytest.mark.usefixtures("users_exporter")
def test_figures_and_files(tmp_path: Path) -> None:
    model = tiny_classifier("full", "mean", num_labels=3)
    model.train()
    fp32, int8 = export(model, tmp_path / "out")
    assert model.training, "the model given must stay as it was"
    assert [file.precision for file in (fp32, int8)] == ["fp32", "int8"]
    assert fp32.max_abs_error <= 1e-4
    assert fp32.random_agreement == 1
    assert int8.random_agreement is not None
    assert int8.random_agreement >= 0.8
    assert fp32.max_abs_error < int8.max_abs_error < 1
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["model.int8.onnx", "model.onnx"]
    assert int8.bytes == int8.path.stat().st_size < fp32.bytes
    assert onnx.load(str(fp32.path)).opset_import[0].version == OPSET


@pytest.mark.usefixtures("users_exporter")
def test_roberta_positions(tmp_path: Path) -> None:
    model = tiny_classifier("full", "mean", positions="from_padding", pad_token_id=1, type_vocab_size=1)
    (file,) = export(model, tmp_path, precision=["fp32"])
    assert file.max_abs_error <= 1e-4
    np.testing.assert_allclose(*outputs(file.path, model, 3, 11), atol=1e-5)


def test_regression_has_no_labels_to_agree_on(tmp_path: Path) -> None:
    config = with_labels(tiny_classifier().config, (), "regression")
    fp32, int8 = export(type(tiny_classifier())(config), tmp_path)
    assert fp32.random_agreement is None
    assert int8.random_agreement is None


@pytest.mark.usefixtures("users_exporter")
def test_bare_body_gives_hidden_states(tmp_path: Path) -> None:
    body = tiny_body()
    (file,) = export(body, tmp_path, precision=["fp32"])
    assert OnnxSession(file.path).output == "last_hidden_state"
    np.testing.assert_allclose(*outputs(file.path, body, 3, 9), atol=1e-5)


def test_no_parity_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deploy, "MAX_FP32_ERROR", -1.0)
    with pytest.raises(TrimformerError, match="differs from PyTorch"):
        export(tiny_classifier("mean"), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_missing_extra_and_unknown_format(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TrimformerError, match="use one of onnx, openvino, torch"):
        export(tiny_body(), tmp_path, to="tflite")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(TrimformerError, match=r"pip install \"trimformer\[onnx\]\""):
        export(tiny_body(), tmp_path)


@pytest.mark.slow
@pytest.mark.usefixtures("users_exporter")
def test_each_file_of_an_lstm_has_an_open_length(tmp_path: Path) -> None:
    model = with_layers("bilstm")
    for name in ("first", "second"):
        (file,) = export(model, tmp_path / name, precision=["fp32"])
        np.testing.assert_allclose(*outputs(file.path, model, 2, 5), atol=1e-5)
