"""The quick exporter for files that are only timed: the same function, with as few operators as users get."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

from tests.models import tiny
from trimformer.deploy import onnx
from trimformer.deploy.onnx import random_inputs, write_fp32
from trimformer.encoder import LayerShape
from trimformer.encoder.model.exported import ExportedEncoder
from trimformer.inference.runtimes.onnx import OnnxSession


@pytest.mark.parametrize("family", ["bert", "albert", "mpnet", "deberta-v2", "modernbert"])
def test_it_computes_the_same_at_every_batch_and_length(tmp_path: Path, family: str) -> None:
    model = tiny(2, family=family)
    write_fp32(model, tmp_path / "model.onnx", quick=True)
    session = OnnxSession(tmp_path / "model.onnx", 1)
    for batch, length in ((1, 5), (4, model.config.max_tokens)):
        inputs = random_inputs(model.config, batch, length, padded=True)
        with torch.no_grad():
            expected = ExportedEncoder(model)(**inputs).numpy()
        np.testing.assert_allclose(session.run(inputs), expected, atol=1e-4)


def test_inputs_that_nothing_is_computed_from_stay(tmp_path: Path) -> None:
    """Layers without attention need no mask."""
    model = tiny(2)
    bare = type(model)(model.config.with_shapes([LayerShape("none", 2, 8, 24)])).eval()
    write_fp32(bare, tmp_path / "model.onnx", quick=True)
    assert OnnxSession(tmp_path / "model.onnx", 1).run(random_inputs(bare.config, 2, 6)).shape == (2, 3)


def operators(file: Path) -> list[str]:
    """What ONNX Runtime is left with."""
    import onnx as package

    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(file.with_suffix(".left"))
    options.log_severity_level = 4
    onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    return [node.op_type for node in package.load(str(file.with_suffix(".left"))).graph.node]


def test_a_layer_asks_for_no_sizes(tmp_path: Path) -> None:
    """Fixed sizes are numbers there; batch and length are asked for once in a model."""
    counts = []
    for layers in (1, 3):
        write_fp32(tiny(layers).encoder, tmp_path / "model.onnx", quick=True)
        found = operators(tmp_path / "model.onnx")
        assert found.count("Softmax") == layers
        counts.append([found.count(name) for name in ("Shape", "Gather", "Concat", "Unsqueeze")])
    assert counts[0] == counts[1]


def test_what_it_cannot_do_users_exporter_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any) -> None:
        raise RuntimeError

    monkeypatch.setattr(onnx, "quickly_traced", fails)
    model = tiny(1)
    write_fp32(model, tmp_path / "model.onnx", quick=True)
    inputs = random_inputs(model.config, 2, 6)
    expected = ExportedEncoder(model)(**inputs).detach().numpy()
    np.testing.assert_allclose(OnnxSession(tmp_path / "model.onnx", 1).run(inputs), expected, atol=1e-4)
