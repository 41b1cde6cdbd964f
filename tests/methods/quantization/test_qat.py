"""Quantization-aware training: what is rounded how, and that int8 files give the answers it was trained for."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from tests.learning import batches, context, make_method
from tests.models import DISTINCT_FAMILIES, padded_batch, tiny
from trimformer import TrimformerConfig, TrimformerError, load, trim
from trimformer.deploy.quantize_onnx import maps_of
from trimformer.deploy.quantize_onnx import rounded as in_file
from trimformer.deploy.writers import write
from trimformer.inference.runtimes.backends import open_backend
from trimformer.methods.quantization.fake import INPUT, RoundedInput, rounded
from trimformer.methods.quantization.qat import RoundedWeight


def trained(stage: Any, **settings: Any) -> Any:
    method = make_method("qat", stage, **settings)
    for step, batch in enumerate(batches(stage, stage.steps), 1):
        method.micro_step(batch, 1.0)
        method.update(step)
    method.model.eval()
    return method


@pytest.fixture(scope="module")
def method() -> Any:
    """Of a model with attention, a mean and a convolution, as AttendOut leaves it."""
    return trained(context(attention={1: "mean", 2: "conv"}))


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model.eval()(**padded_batch(model)).logits
    return found


def test_values_are_rounded_to_the_nearest_of_127_steps_to_both_sides() -> None:
    x = torch.tensor([-3.0, -1.27, -0.004, 0.0, 0.006, 0.014, 1.274, 2.0])
    found = rounded(x, torch.tensor(1.27), -128)
    torch.testing.assert_close(found, torch.tensor([-1.28, -1.27, 0.0, 0.0, 0.01, 0.01, 1.27, 1.27]))
    inside = torch.randn(1000).clamp(-1.27, 1.27)
    assert (rounded(inside, torch.tensor(1.27), -128) - inside).abs().max() <= 0.005 + 1e-6  # half a step
    assert torch.equal(rounded(torch.zeros(3), torch.zeros(()), -128), torch.zeros(3))


def test_the_gradient_passes_as_if_nothing_was_rounded() -> None:
    x = torch.tensor([-3.0, 0.3, 9.0], requires_grad=True)
    (rounded(x, torch.tensor(1.0), -127) * torch.tensor([1.0, 2.0, 3.0])).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [1, 2, 3]


def test_weights_are_those_of_the_file() -> None:
    weight = torch.randn(5, 7)
    integers, scale = in_file(weight.T.numpy(), axis=0)
    torch.testing.assert_close(RoundedWeight()(weight), torch.from_numpy((integers * scale).T), atol=1e-7, rtol=0)
    again, _ = in_file(RoundedWeight()(weight).T.numpy(), axis=0)  # what is rounded once stays
    assert np.array_equal(again, integers)


def test_the_range_is_a_moving_maximum_that_the_first_step_sets() -> None:
    rounding = RoundedInput(0.9)
    for largest, wanted in [(2.0, 2.0), (4.0, 2.2), (1.0, 2.08)]:
        rounding(torch.tensor([-largest, 0.5]))
        assert rounding.largest.item() == pytest.approx(wanted)
    rounding.eval()
    rounding(torch.tensor([100.0]))
    assert rounding.largest.item() == pytest.approx(2.08)


def test_every_linear_map_and_the_word_table_are_rounded(method: Any) -> None:
    names = {name for name, module in method.model.named_modules() if hasattr(module, INPUT)}
    assert len(names) == len(method.inputs) == 4 + 2 + 2 + 3 * 2 + 2  # attention, mean, conv, blocks, head
    result = method.result().model
    assert set(result.config.input_ranges) == {name.removeprefix("encoder.") for name in names}
    assert all(value > 0 for value in result.config.input_ranges.values())
    for weight in (result.encoder.embeddings.word.weight, result.encoder.layers[0].ffn_in.weight):
        integers = weight / (weight.abs().amax(1, keepdim=True).clamp(min=1e-9) / 127)
        torch.testing.assert_close(integers, integers.round(), atol=1e-3, rtol=0)


@pytest.mark.parametrize("runtime", ["onnx", "openvino"])
def test_int8_files_answer_as_the_rounded_model(method: Any, tmp_path: Path, runtime: str) -> None:
    """Far within half a step of any rounding; OpenVINO without bf16 in what stays in floating point."""
    result = method.result().model
    result.save_pretrained(tmp_path / "model")
    path = write(load(tmp_path / "model"), f"{runtime}-int8", tmp_path)
    found = torch.from_numpy(open_backend(path, runtime, threads=1).run(padded_batch(result)))
    expected, unrounded = logits(method.model), logits(result)
    assert (unrounded - expected).abs().max() > 1e-2
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


def test_unsigned_weights_give_the_same_answers(method: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As they are on processors where sums of signed products overflow."""
    result = method.result().model
    runs = []
    for unsigned in (False, True):
        monkeypatch.setattr("trimformer.deploy.quantize_onnx.int8_saturates", lambda unsigned=unsigned: unsigned)
        path = write(result, "onnx-int8", tmp_path / str(unsigned), quick=True)
        kinds = {weight.data_type for weight in onnx.load(str(path)).graph.initializer if "columns" in weight.name}
        assert (onnx.TensorProto.INT8 in kinds) != unsigned
        runs.append(open_backend(path, "onnx-int8", threads=1).run(padded_batch(result)))
    np.testing.assert_allclose(*runs, atol=1e-5)


def test_onnx_runtime_computes_in_integers(method: Any, tmp_path: Path) -> None:
    import onnxruntime

    path = write(method.result().model, "onnx-int8", tmp_path)
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    kinds = [node.op_type for node in onnx.load(str(tmp_path / "optimized.onnx")).graph.node]
    assert kinds.count("MatMulIntegerToFloat") + kinds.count("QGemm") == len(method.inputs)


@pytest.mark.parametrize("family", [*DISTINCT_FAMILIES, "electra"])
def test_the_files_of_every_family_have_all_their_maps_in_int8(tmp_path: Path, family: str) -> None:
    found = trained(context(family=family, rows=16))
    result = found.result().model
    path = write(result, "onnx-int8", tmp_path, quick=True)
    maps, ranges = {*maps_of(tmp_path / "model.onnx")} - {"embeddings.word"}, {*result.config.input_ranges}
    assert maps <= ranges
    assert maps == ranges or result.config.sharing  # a map that layers share is there once
    answers = open_backend(path, "onnx-int8", threads=1).run(padded_batch(result))
    torch.testing.assert_close(torch.from_numpy(answers), logits(found.model), atol=1e-3, rtol=0)


def test_thin_maps_have_ranges_too(tmp_path: Path) -> None:
    stage = context(rows=16)
    thin = {name: {"kind": "low-rank", "rank": 3} for name in ("attention.query", "ffn_in")}
    shapes = [dataclasses.replace(shape, maps=thin) for shape in stage.model.config.shapes]
    model = type(stage.model)(stage.model.config.with_shapes(shapes))
    found = trained(dataclasses.replace(stage, model=model))
    write(found.result().model, "onnx-int8", tmp_path, quick=True)
    assert {*maps_of(tmp_path / "model.onnx")} - {"embeddings.word"} == {*found.inputs}


def test_ranges_do_not_outlive_the_weights(method: Any) -> None:
    model = method.result().model
    assert trim(model, attention={0: "mean"}).config.input_ranges is None
    with pytest.raises(TrimformerError, match="input_ranges has -1 for head"):
        TrimformerConfig.from_dict(tiny(1).config.to_dict() | {"input_ranges": {"head": -1}})


@pytest.mark.parametrize("kind", ["masked-lm", "spans"])
def test_other_heads(kind: str) -> None:
    """Of a masked language model the word table and the output are one weight, rounded alike."""
    found = trained(context(kind=kind, rows=16))
    again = found.result().model
    assert len(again.config.input_ranges) == len(found.inputs)
    if kind == "masked-lm":
        assert again.head.output.weight is again.encoder.embeddings.word.weight
