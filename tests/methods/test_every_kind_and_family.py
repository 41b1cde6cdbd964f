"""The methods that choose attention layers while training do so on every kind of task and every family."""

import pytest
import torch

from tests.learning import batches, context, make_method
from tests.models import FAMILY_NAMES
from trimformer import trim
from trimformer.encoder.model.heads import IGNORED

KINDS = ["classification", "multilabel", "regression", "ranking", "tokens", "spans", "embedding", "masked-lm"]
METHODS = {"attendout": {"finalists": 2}, "attendout-faithful": {"pruning_step": 2}, "greedy": {"ramp": 0.01}}
DISTILLED = {"logits": 1.0, "hidden": 1.0}


def learn(stage, name):
    """Two steps, the decision, and the trimmed model's answer on a batch."""
    method = make_method(name, stage, keep_layers=1, **METHODS[name])
    before = {key: value.clone() for key, value in method.model.state_dict().items()}
    for step, batch in enumerate(batches(stage, 2), start=1):
        losses = method.micro_step(batch, 1.0)
        method.update(step)
        assert all(torch.isfinite(torch.tensor(value)) for value in losses.values())
    moved = [key for key, value in method.model.state_dict().items() if not torch.equal(value, before[key])]
    assert any("attention.value" in key for key in moved)
    assert "head.output.weight" in moved or not any(key.startswith("head.") for key in before)
    gates = method.decide()
    model = trim(method.model, gates).eval()
    assert sum(shape.attention == "full" for shape in model.config.shapes) == 1
    batch = batches(stage, 1)[0]
    labels = batch.pop("labels")
    with torch.no_grad():
        torch.testing.assert_close(model(**batch).logits, method.model.eval()(**batch, gates=gates).logits)
    return labels


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("kind", KINDS)
def test_kinds(kind, name):
    labels = learn(context(kind=kind, objective=DISTILLED), name)
    assert (IGNORED in labels) == (kind == "tokens")


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_families(family, name):
    learn(context(family=family), name)
