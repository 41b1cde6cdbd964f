"""Baking gives the same answers from a copy, and leaves the model that was given as it was."""

import torch
from torch import nn
from torch.nn.utils import parametrize

from tests.models import padded_batch, tiny
from trimformer.encoder.parts.baked import bake, transformed


class Halved(nn.Module):
    def forward(self, weight):
        return weight / 2


def test_the_model_given_still_works():
    model = tiny()
    parametrize.register_parametrization(model.encoder.layers[0].ffn_in, "weight", Halved())
    inputs = padded_batch(model)
    with torch.no_grad():
        before = model(**inputs).logits
        baked = bake(model)
        torch.testing.assert_close(baked(**inputs).logits, before, atol=1e-6, rtol=0)
        torch.testing.assert_close(model(**inputs).logits, before, atol=0, rtol=0)
    assert not transformed(baked)
    assert transformed(model) == [("encoder.layers.0.ffn_in", "weight")]
