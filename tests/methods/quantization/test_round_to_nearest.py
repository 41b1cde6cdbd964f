"""Rounding to nearest: at most half a step away, and written as whole numbers and scales."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open

from tests.learning import context, make_method
from tests.models import FAMILY_NAMES, padded_batch
from trimformer import TrimformerError, load
from trimformer.encoder.packing.groups import GROUP, largest, rounded


@pytest.fixture(autouse=True)
def small_matrices_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trimformer.methods.quantization.matrices.FEW", 1)


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model.eval()(**padded_batch(model)).logits
    return found


@pytest.mark.parametrize("bits", range(2, 9))
@pytest.mark.parametrize("columns", [16, 64, 150])
def test_a_weight_moves_by_half_a_step_at_most(bits: int, columns: int) -> None:
    torch.manual_seed(bits)
    weight = torch.randn(20, columns)
    weight[3] = 0
    found = rounded(weight, bits)
    for group, near in zip(weight.split(GROUP, 1), found.split(GROUP, 1), strict=True):
        step = group.abs().amax(1, keepdim=True) / largest(bits)
        # The scale is a bfloat16, which is off by 2^-9 at most; so may be the largest whole number times it.
        assert ((group - near).abs() <= step / 2 + group.abs() * 2**-8 + 1e-12).all()
        assert all(len(row.unique()) <= 2 * largest(bits) + 1 for row in near)
    assert not found[3].any()
    assert torch.equal(rounded(found, bits), found)


@pytest.mark.parametrize("family", FAMILY_NAMES)
@pytest.mark.parametrize(("bits", "embedding_bits"), [(None, 8), (8, 4), (4, None)])
def test_what_was_asked_for_is_rounded_and_saved_packed(
    bits: int | None, embedding_bits: int | None, family: str, tmp_path: Path
) -> None:
    stage = context(family=family, rows=8)
    model = make_method("round-to-nearest", stage, bits=bits, embedding_bits=embedding_bits).result().model
    before, after = stage.model.state_dict(), model.state_dict()
    for name, wanted in (("embeddings.word", embedding_bits), ("layers.0.ffn_in", bits)):
        weight = before[f"encoder.{name}.weight"]
        assert torch.equal(after[f"encoder.{name}.weight"], weight if wanted is None else rounded(weight, wanted))
    model.save_pretrained(tmp_path)
    with safe_open(tmp_path / "model.safetensors", "pt") as opened:
        said = json.loads(opened.metadata()["packing"])["weights"]
    name = "encoder.embeddings.word.weight"
    assert said.get(name, {}).get("bits") == embedding_bits
    assert torch.equal(logits(load(tmp_path)), logits(model))


def test_nothing_to_round_is_refused() -> None:
    with pytest.raises(TrimformerError, match="neither bits nor embedding_bits"):
        make_method("round-to-nearest", context(rows=8), bits=None, embedding_bits=None)


def test_the_label_says_the_bits() -> None:
    settings = make_method("round-to-nearest", context(rows=8), bits=8, embedding_bits=4).settings
    assert settings.label == "round-to-nearest, 8 bits, 4 bits in embeddings"
