"""The rearranged encoder computes the same, and a mean layer does no work per token."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from tests.wordmodels import tiny_body, tiny_classifier
from trimformer.deploy.onnx import random_inputs
from trimformer.encoder.model.exported import ExportedEncoder
from trimformer.encoder.parts.attention.mean import ExportedMean
from trimformer.encoder.parts.exported import ExportedTokens

KINDS = [
    ("full", "full"),
    ("mean", "mean"),
    ("full", "mean"),
    ("mean", "full"),
    ("full", "none", "none"),
    ("none", "full", "none"),
    ("none", "none"),
    ("conv", "none"),
    ("full", "conv"),
    ("conv", "conv"),
]


@pytest.mark.parametrize("kinds", KINDS)
def test_folded_equals_unfolded(kinds: tuple[str, ...]) -> None:
    classifier, body = tiny_classifier(*kinds), tiny_body(*kinds)
    inputs = random_inputs(body.config, 4, 13, padded=True)
    with torch.inference_mode():
        torch.testing.assert_close(
            ExportedEncoder(classifier)(**inputs), classifier(**inputs).logits, atol=1e-5, rtol=0
        )
        real = inputs["attention_mask"].bool()
        got, expected = ExportedEncoder(body)(**inputs), body(**inputs).last_hidden_state
    torch.testing.assert_close(got[real], expected[real], atol=1e-5, rtol=0)


def test_mean_layer_does_one_product_per_sequence() -> None:
    batch, n, hidden = 3, 50, 32
    body = tiny_body("mean")
    layer = ExportedMean(body.layers[0].attention)
    lengths = torch.full((batch,), n)
    tokens = ExportedTokens(torch.ones(batch, n), torch.arange(n)[None], lengths, n, body.positions)
    with FlopCounterMode(display=False) as counter:
        layer(torch.randn(batch, n, hidden), tokens)
    assert counter.get_total_flops() == 2 * batch * hidden * hidden + 2 * batch * n * hidden


def test_a_row_of_padding_does_not_spoil_the_others() -> None:
    model = tiny_classifier("full", "full")
    inputs = random_inputs(model.config, 2, 7)
    inputs["attention_mask"][1] = 0
    logits = ExportedEncoder(model)(**inputs)
    assert logits.isfinite().all()
