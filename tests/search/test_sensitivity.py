"""What the removal of each part costs, without training."""

import pytest
import torch

from tests.learning import context
from trimformer.encoder.shape.gates import Gates
from trimformer.search.sensitivity import Divergence, sensitivity
from trimformer.tasks.encoding.batches import drawn_rows
from trimformer.training.evaluate import predict_logits


@pytest.mark.parametrize("kind", ["classification", "tokens", "spans", "multilabel", "regression"])
def test_every_kind_of_task(kind: str) -> None:
    stage = context(kind=kind, layers=2)
    found = sensitivity(stage, 12, Divergence(stage, 12))
    assert len(found.attention) == len(found.layers) == len(found.heads) == len(found.units) == 2
    assert min(found.attention + found.layers) > 0
    assert [len(own) for own in found.units] == [24, 24]
    assert min(map(min, found.units)) >= 0


def test_divergence_is_that_of_the_probabilities() -> None:
    stage = context(layers=2)
    gates = Gates(layers=torch.tensor([1.0, 0.0]))
    rows = drawn_rows(len(stage.selection), 10, stage.seed)
    before, after = (
        torch.from_numpy(predict_logits(stage.model, stage.selection, gates=own)[rows]).log_softmax(-1)
        for own in (None, gates)
    )
    expected = (before.exp() * (before - after)).sum(1).mean()
    cost = Divergence(stage, 10)
    assert cost(gates) == pytest.approx(expected.item(), rel=1e-3)
    assert cost(Gates()) == pytest.approx(0, abs=1e-6)
