"""Outliers are moved into weights before int8: nothing changes in fp32, and int8 keeps its answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from tests.deploy.test_agreement import asked, texts
from tests.models import DISTINCT_FAMILIES, WITHOUT_FAMILY, tiny, with_layers
from tests.tinymodel import words_tokenizer
from trimformer.deploy.onnx import random_inputs
from trimformer.deploy.quantize_onnx import onnx_int8, plain_name
from trimformer.deploy.quantize_openvino import samples
from trimformer.deploy.smooth import smoothed
from trimformer.deploy.writers import write
from trimformer.inference.runtimes.backends import open_backend
from trimformer.inference.runtimes.onnx import OnnxSession
from trimformer.tasks.data import Examples, Task
from trimformer.tasks.encode import encode


@pytest.mark.parametrize("family", DISTINCT_FAMILIES)
def test_smoothed_equals_unsmoothed_in_fp32(family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Law, where every input of a map counts as one with outliers."""
    monkeypatch.setattr("trimformer.deploy.smooth.OUTLIER", 0.0)
    model = tiny(2, family=family, sharing=None)
    source = write(model, "onnx", tmp_path)
    target = smoothed(source, tmp_path / "smooth.onnx", samples(model.config, None))
    assert target != source
    added = {node.op_type for node in onnx.load(str(target)).graph.node if node.name == ""}
    assert "Mul" in added
    given = random_inputs(model.config, 4, 12, padded=True)
    sessions = [OnnxSession(file) for file in (source, target)]
    before, after = (one.outputs({name: given[name].numpy() for name in one.inputs})[0] for one in sessions)
    np.testing.assert_allclose(after, before, atol=1e-5 * max(1.0, float(np.abs(before).max())))


def test_weights_that_several_inputs_share_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trimformer.deploy.smooth.OUTLIER", 0.0)
    model = tiny(2, family="albert", sharing=[0, 0])
    source = write(model, "onnx", tmp_path)
    target = smoothed(source, tmp_path / "smooth.onnx", samples(model.config, None))
    before, after = (
        {weight.name: weight for weight in onnx.load(str(file)).graph.initializer} for file in (source, target)
    )
    same = {name for name in before if before[name] == after[name]}
    assert {name for name in before if ".ffn_" in name} <= same


def test_maps_that_int8_does_not_round_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trimformer.deploy.smooth.OUTLIER", 0.0)
    model = tiny(2, exits={"after": [0], "rule": "entropy", "threshold": 0.5})
    source = write(model, "onnx", tmp_path)
    kept = ["layers.0.ffn_in"]
    target = smoothed(source, tmp_path / "smooth.onnx", samples(model.config, None), kept)
    before, after = (
        {weight.name: weight for weight in onnx.load(str(file)).graph.initializer} for file in (source, target)
    )
    same = {name for name in before if name.endswith("weight") and before[name] == after[name]}
    assert {name for name in before if name.startswith("exits.") and name.endswith("weight")} <= same
    assert [plain_name(name) for name in same if ".ffn_in" in name] == kept
    assert not any(".ffn_out" in name for name in same)


@pytest.mark.parametrize("kind", WITHOUT_FAMILY)
def test_a_file_without_linear_maps_has_no_outliers(kind: str, tmp_path: Path) -> None:
    body = with_layers(kind).encoder
    assert write(body, "onnx-int8", tmp_path).is_file()


def two_outlier_channels() -> Any:
    """A classifier whose feed-forward blocks have two large units, which count for little."""
    model = tiny(2, labels=2)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith("ffn_in.bias"):
                weight[:2] = torch.tensor([3000.0, 1000.0])
            if name.endswith("ffn_out.weight"):
                weight *= 5
                weight[:, :2] *= 1e-4
        logits = model(**asked()).logits
        apart = (logits[:, 1] - logits[:, 0]).sort().values[10:50]  # each label is the answer to many texts
        widest = apart.diff().argmax()
        model.head.output.bias[0] += apart[widest : widest + 2].mean()
    return model


def test_int8_of_a_checkpoint_with_outliers_does_not_collapse(tmp_path: Path) -> None:
    model, task = two_outlier_channels(), Task("toy", "classification", ("a", "b"), ("accuracy",), "made in the test")
    rows = encode(task, Examples(texts(), None, [0] * len(texts())), words_tokenizer(), max_length=40)
    smooth = write(model, "onnx-int8", tmp_path, rows)
    onnx_int8(tmp_path / "model.onnx", tmp_path / "plain.onnx")
    with torch.no_grad():
        exact = model(**asked()).logits.argmax(1).numpy()
    plain, moved = (
        float((open_backend(file, "onnx-int8").run(asked()).argmax(1) == exact).mean())
        for file in (tmp_path / "plain.onnx", smooth)
    )
    assert plain < 0.9
    assert moved >= 0.98


def test_without_outliers_the_file_stays(tmp_path: Path) -> None:
    model = tiny(1)
    source = write(model, "onnx", tmp_path)
    assert smoothed(source, tmp_path / "smooth.onnx", samples(model.config, None)) == source
    assert not (tmp_path / "smooth.onnx").exists()
