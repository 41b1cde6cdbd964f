"""Quant-Noise: a share of the blocks is rounded in a step, the others have their exact weight and gradient."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open

from tests.learning import batches, context, make_method
from tests.models import DISTINCT_FAMILIES, padded_batch
from trimformer import load
from trimformer.encoder.packing.groups import GROUP, rounded
from trimformer.methods.quantization.quant_noise import NoisyWeight


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model.eval()(**padded_batch(model)).logits
    return found


def trained(stage: Any, **settings: Any) -> Any:
    method = make_method("quant-noise", stage, **settings)
    for step, batch in enumerate(batches(stage, stage.steps), 1):
        method.micro_step(batch, 1.0)
        method.update(step)
    return method


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_a_share_of_the_blocks_is_rounded_as_a_whole(rate: float) -> None:
    torch.manual_seed(0)
    weight = torch.randn(400, 300)
    found, wanted = NoisyWeight(3, rate)(weight), rounded(weight, 3)
    drawn = []
    for now, given, rough in zip(*(each.split(GROUP, 1) for each in (found, weight, wanted)), strict=True):
        is_rough, is_exact = (now == rough).all(1), (now == given).all(1)
        assert (is_rough ^ is_exact).all()
        drawn.append(is_rough)
    assert torch.cat(drawn).float().mean().item() == pytest.approx(rate, abs=0.03)


def test_each_pass_draws_anew_and_none_is_drawn_outside_of_training() -> None:
    weight, noise = torch.randn(40, 300), NoisyWeight(3, 0.5)
    assert not torch.equal(noise(weight), noise(weight))
    assert torch.equal(noise.eval()(weight), rounded(weight, 3))
    assert torch.equal(NoisyWeight(3, 1.0)(weight), rounded(weight, 3))


def test_every_weight_has_its_gradient() -> None:
    weight, factor = torch.randn(5, 150, requires_grad=True), torch.randn(5, 150)
    (NoisyWeight(2, 0.5)(weight) * factor).sum().backward()
    assert torch.equal(weight.grad, factor)  # type: ignore[arg-type]


@pytest.mark.parametrize("family", DISTINCT_FAMILIES)
def test_all_weights_are_rounded_in_the_end_and_saved_so(family: str, tmp_path: Path) -> None:
    method = trained(context(family=family, rows=16), bits=2)
    before = method.model.training
    model = method.result().model
    assert method.model.training is before
    assert model.config.input_ranges is None
    for name, bits in (("layers.0.ffn_in", 2), ("embeddings.word", 8)):
        weight = model.state_dict()[f"encoder.{name}.weight"]
        assert torch.equal(rounded(weight, bits), weight)
    torch.testing.assert_close(logits(method.model), logits(model))
    model.save_pretrained(tmp_path)
    with safe_open(tmp_path / "model.safetensors", "pt") as opened:
        assert "encoder.layers.0.ffn_in.weight" in json.loads(opened.metadata()["packing"])["weights"]
    assert torch.equal(logits(load(tmp_path)), logits(model))


def test_a_tied_head_has_the_rows_of_the_table() -> None:
    model = trained(context(kind="masked-lm", rows=16)).result().model
    assert model.head.output.weight is model.encoder.embeddings.word.weight


def test_the_report_says_what_was_done() -> None:
    method = make_method("quant-noise", context(rows=8), rate=0.2)
    assert method.notes()[0] == "In each step 20% of the blocks were rounded, and all of them are now."
    assert method.settings.label == "quant-noise, 4 bits, 8 in embeddings"
