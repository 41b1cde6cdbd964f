"""Law: every weight and every counted operation of every part belongs to a component, and all of them to the whole."""

import pytest
import torch

from tests.laws.test_every_part import every_family, every_part
from tests.models import tiny
from trimformer import cost
from trimformer.encoder.checkpoints.load import with_labels
from trimformer.encoder.model.exported import ExportedEncoder
from trimformer.encoder.model.heads import HEADS
from trimformer.encoder.parts.components import Component, components_of
from trimformer.encoder.parts.elimination import eliminates
from trimformer.measure.profile.count import weights_of, work_of


def inputs(n):
    return {"input_ids": torch.randint(4, 50, (1, n)), "attention_mask": torch.ones(1, n, dtype=torch.long)}


def check(model, n=12):
    weights, sizes = weights_of(model, {})
    counted = cost(model, n)
    assert None not in weights
    assert sum(weights.values()) == counted.params
    assert sum(sizes.values()) == counted.bytes
    exported = ExportedEncoder(model)
    components = components_of(exported)
    assert all(components[name] is not None for name, _ in exported.named_parameters(remove_duplicate=False))
    if eliminates(model.config):  # what is computed depends on the text, so that the profile refuses the model
        return
    work = work_of(model, [inputs(n)])
    assert work.flops.pop(None) == 0
    assert sum(work.flops.values()) == counted.flops
    assert all(work.memory[place] > 0 for place in weights if work.flops[place])


@every_part
@every_family
def test_of_every_part(make, part, family):
    check(make(part, family))


@pytest.mark.parametrize("head", HEADS, ids=lambda head: head.__name__)
def test_of_every_head_and_of_none(head):
    config = with_labels(tiny().config, ["a", "b"] if not head.unnamed else [], head.kinds[0])
    model = head(config).eval()
    check(model)
    assert components_of(model)["head"] == Component.HEAD
    check(model.encoder)
    assert Component.HEAD not in weights_of(model.encoder, {})[0]
