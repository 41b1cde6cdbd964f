"""int8 for ONNX Runtime: rounding of weights, and which nodes become integers."""

import numpy as np
import onnx
import pytest
import torch

from tests.models import padded_batch, tiny, trained
from trimformer.deploy.onnx import write_fp32
from trimformer.deploy.quantize_onnx import onnx_int8, rounded
from trimformer.inference.runtimes.onnx import OnnxSession


@pytest.mark.parametrize("axis", [0, 1])
def test_rounded_is_at_most_half_a_step_away(axis):
    values = np.random.default_rng(0).normal(size=(7, 5)).astype(np.float32)
    values[:, 2] = 0
    values[3] = 0
    integers, scale = rounded(values, axis)
    steps = np.expand_dims(scale, axis)
    assert np.abs(integers * steps - values).max() <= steps.max() / 2
    assert (np.abs(integers * steps - values) <= steps / 2 + 1e-7).all()
    assert np.abs(integers).max() == 127
    assert scale[2 if axis == 0 else 3] == 1


def made(folder):
    model = trained(tiny(2))
    write_fp32(model.eval(), folder / "model.onnx", quick=True)
    onnx_int8(folder / "model.onnx", folder / "model.int8.onnx")
    return model


@pytest.mark.parametrize("unsigned", [False, True])
def test_every_linear_map_and_the_word_table_are_int8(tmp_path, monkeypatch, unsigned):
    monkeypatch.setattr("trimformer.deploy.quantize_onnx.int8_saturates", lambda: unsigned)
    made(tmp_path)
    graph = onnx.load(str(tmp_path / "model.int8.onnx")).graph
    kinds = {weight.name: weight.data_type for weight in graph.initializer}
    floats = {weight.name: weight for weight in graph.initializer if weight.data_type == onnx.TensorProto.FLOAT}
    assert not [node.name for node in graph.node if node.op_type in ("MatMul", "Gemm") and node.input[1] in floats]
    maps = [node for node in graph.node if node.op_type == "MatMulIntegerToFloat"]
    wanted = onnx.TensorProto.UINT8 if unsigned else onnx.TensorProto.INT8
    assert len(maps) == 2 * 6 + 2  # queries, keys, values, output, units, their output; two of the head
    assert {kinds[node.input[1]] for node in maps} == {wanted}
    assert kinds["embeddings.word.weight.rows.int8"] == onnx.TensorProto.INT8
    assert "embeddings.word.weight" not in kinds


def test_the_answers_are_near(tmp_path):
    model = made(tmp_path)
    batch = padded_batch(model, 4, 9)
    with torch.no_grad():
        expected = model(**batch).logits
    found = torch.from_numpy(OnnxSession(tmp_path / "model.int8.onnx", 1).run(batch))
    assert (found - expected).abs().max() < 0.05 * expected.abs().max()


def test_rows_of_zeros_give_no_nan(tmp_path):
    model = tiny(1).eval()
    for weight in model.parameters():
        weight.data.zero_()
    write_fp32(model, tmp_path / "model.onnx", quick=True)
    onnx_int8(tmp_path / "model.onnx", tmp_path / "model.int8.onnx")
    found = OnnxSession(tmp_path / "model.int8.onnx", 1).run(padded_batch(model, 4, 9))
    assert np.isfinite(found).all()
