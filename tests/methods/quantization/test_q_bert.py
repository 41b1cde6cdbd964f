"""Q-BERT: sensitivity against a known Hessian, bits by it, and weights that are saved as they were trained."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open

from tests.learning import batches, context, make_method
from tests.models import FAMILY_NAMES, padded_batch
from trimformer import TrimformerError, load
from trimformer.deploy.writers import write
from trimformer.encoder.packing.groups import rounded
from trimformer.inference.runtimes.backends import open_backend
from trimformer.methods.quantization import q_bert
from trimformer.methods.quantization.fake import INPUT, GroupedWeight
from trimformer.methods.quantization.sensitivity import largest_eigenvalues, omega, sensitivities


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model.eval()(**padded_batch(model)).logits
    return found


def trained(stage: Any, **settings: Any) -> Any:
    method = make_method("q-bert", stage, **{"rows": 16} | settings)
    for step, batch in enumerate(batches(stage, stage.steps), 1):
        method.micro_step(batch, 1.0)
        method.update(step)
    method.model.eval()
    return method


def symmetric(values: list[float], seed: int) -> torch.Tensor:
    """A matrix with these eigenvalues."""
    basis = torch.linalg.qr(torch.randn(len(values), len(values), generator=torch.Generator().manual_seed(seed))).Q
    return basis @ torch.tensor(values).diag() @ basis.T


def test_the_eigenvalues_are_those_of_the_blocks_of_a_quadratic() -> None:
    """With weights that share terms of the loss, a matrix among them, and an eigenvalue below 0."""
    blocks = [symmetric([5.0, 1.0, 0.2, 0.1], 0), symmetric([-7.0, 2.0, 1.0], 1)]
    x, y = torch.randn(2, 2, requires_grad=True), torch.randn(3, requires_grad=True)
    flat = x.flatten()
    loss = (flat @ blocks[0] @ flat + y @ blocks[1] @ y) / 2 + 3 * flat[0] * y[1] + y.sum()
    found = largest_eigenvalues(loss, [[x], [y]], seed=0)
    assert found == pytest.approx([5.0, -7.0], rel=0.03)


def test_a_group_of_several_weights_is_one_block() -> None:
    a, b = torch.randn(1, requires_grad=True), torch.randn(1, requires_grad=True)
    loss = (a**2 + b**2 + 4 * a * b).sum() / 2  # [[1, 2], [2, 1]]: 3 and -1
    assert largest_eigenvalues(loss, [[a, b]], seed=0) == pytest.approx([3.0], rel=0.03)
    flat = (0 * a**2).sum()
    assert largest_eigenvalues(flat, [[a]], seed=0) == [0.0]
    straight = (3 * a + b**2).sum()  # and what the loss does not read at all
    assert largest_eigenvalues(straight, [[a], [torch.ones(1, requires_grad=True)]], seed=0) == [0.0, 0.0]


def test_omega_is_the_mean_by_size_and_the_deviation() -> None:
    assert omega(torch.tensor([-1.0, -5.0])) == 3 + 2
    assert omega(torch.tensor([4.0])) == 4


def test_the_loss_of_a_model_bends_as_its_hessian_says() -> None:
    """One map of a tiny encoder, against the whole matrix of second derivatives."""
    stage = context(rows=8, layers=1)
    weight = stage.model.encoder.layers[0].attention.output.weight
    batch = next(stage.sample(stage.train, 8))
    labels = batch.pop("labels")

    def loss(values: torch.Tensor) -> Any:
        given = {"encoder.layers.0.attention.output.weight": values}
        out = torch.func.functional_call(stage.model, given, kwargs=batch)
        return torch.nn.functional.cross_entropy(out.logits, labels)

    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        hessian = torch.autograd.functional.hessian(loss, weight.detach()).reshape(weight.numel(), -1)
    values = torch.linalg.eigvalsh(hessian)
    wanted = float(values[values.abs().argmax()].abs())
    assert sensitivities(stage, [[weight]], 8)[0] == pytest.approx(wanted, rel=0.1)


def test_the_most_sensitive_layers_have_more_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(q_bert, "sensitivities", lambda *_: [1.0, 9.0, 4.0])
    assert make_method("q-bert", context(rows=8)).bits == {"0": 3, "1": 4, "2": 4}
    method = make_method("q-bert", context(rows=8), bits=2, sensitive_bits=8, share=0.3)
    assert method.bits == {"0": 2, "1": 8, "2": 2}
    assert "0 (1) 2, 1 (9) 8, 2 (4) 2" in method.notes()[0]


def test_layers_with_as_many_bits_are_not_estimated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(q_bert, "sensitivities", None)
    assert make_method("q-bert", context(rows=8), bits=4).bits == dict.fromkeys("012", 4)


def test_the_gradient_passes_the_rounding() -> None:
    weight = torch.randn(3, 100, requires_grad=True)
    factor = torch.randn(3, 100)
    found = GroupedWeight(3)(weight)
    assert torch.equal(found, rounded(weight, 3))
    (found * factor).sum().backward()
    assert torch.equal(weight.grad, factor)  # type: ignore[arg-type]


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_what_is_saved_is_what_was_trained(family: str, tmp_path: Path) -> None:
    method = trained(context(family=family, rows=16), bits=2, sensitive_bits=4, embedding_bits=8)
    model = method.result().model
    under = dict(method.model.named_modules())
    names = [name for name, module in under.items() if hasattr(module, INPUT)]
    for name in [*names, "encoder.embeddings.word"]:
        assert torch.equal(model.state_dict()[f"{name}.weight"], under[name].weight), name
        layer = q_bert.layer_of(name)
        bits = 8 if layer is None else method.bits[layer]
        assert torch.equal(rounded(under[name].weight, bits), under[name].weight), name
    model.save_pretrained(tmp_path)
    with safe_open(tmp_path / "model.safetensors", "pt") as opened:
        said = json.loads(opened.metadata()["packing"])["weights"]
    assert {said[f"{name}.weight"]["kind"] for name in names if q_bert.layer_of(name)} <= {"groups", "dictionary"}
    assert torch.equal(logits(load(tmp_path)), logits(model))


@pytest.mark.parametrize("kind", ["multilabel", "regression", "ranking", "tokens", "spans", "embedding", "masked-lm"])
def test_every_kind_of_task(kind: str) -> None:
    found = trained(context(kind=kind, rows=16))
    again = found.result().model
    assert sorted(found.bits.values()) == [3, 4, 4]
    if kind == "masked-lm":
        assert again.head.output.weight is again.encoder.embeddings.word.weight


def test_int8_files_have_the_inputs_rounded_as_in_training(tmp_path: Path) -> None:
    """Their weights are rounded once more, to int8 of a row each, which is finer than what they were trained under."""
    method = trained(context(attention={1: "mean", 2: "conv"}), bits=4)
    model = method.result().model
    assert {*model.config.input_ranges} == {*method.inputs}
    answers = open_backend(write(model, "onnx-int8", tmp_path, quick=True), "onnx-int8", threads=1)
    found, wanted = torch.from_numpy(answers.run(padded_batch(model))), logits(method.model)
    torch.testing.assert_close(found, wanted, atol=0.1 * float(wanted.abs().max()), rtol=0)


def test_shared_layers_have_their_bits_once() -> None:
    assert make_method("q-bert", context(family="albert", rows=8), rows=8).bits == {"0": 4}


def test_bits_and_sensitivity_are_resumed() -> None:
    first, second = (make_method("q-bert", context(rows=8), rows=8) for _ in range(2))
    state = first.state_dict() | {"bits": dict.fromkeys("012", 8), "sensitivity": {"0": 1.0}}
    second.load_state_dict(state)
    weight = second.model.encoder.layers[1].ffn_in.weight
    assert torch.equal(weight, rounded(second.model.encoder.layers[1].ffn_in.parametrizations.weight.original, 8))
    assert second.notes()[0].endswith("0 (1) 8.")


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(TrimformerError, match="sensitive_bits=2 is fewer than bits=4"):
        make_method("q-bert", context(rows=8), bits=4, sensitive_bits=2)
    stage = context(rows=8)
    shapes = [dataclasses.replace(shape, attention="none", ffn=0) for shape in stage.model.config.shapes]
    with pytest.raises(TrimformerError, match="no linear maps that q-bert could round"):
        q_bert.QBert.check(q_bert.QBertSettings(), stage.model.config.with_shapes(shapes))


def test_the_label_says_the_bits() -> None:
    assert q_bert.QBertSettings().label == "q-bert, 3 and 4 bits, 8 in embeddings"
    assert q_bert.QBertSettings(bits=4).label == "q-bert, 4 bits, 8 in embeddings"
