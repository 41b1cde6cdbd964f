"""Importance: first-order, text by text; what matters least goes."""

import pytest
import torch
from torch.nn import functional as F

from tests.learning import context, make_method
from tests.models import FAMILY_NAMES
from trimformer import TrimformerError, trim
from trimformer.encoder.model.heads import task_loss

KINDS = ["classification", "multilabel", "regression", "tokens", "spans"]
ALL = {"keep_layers": 2, "heads": 0.5, "ffn": 0.5}


def ones(model):
    shapes = model.config.shapes
    sizes = {"attention": [1 for _ in shapes], "heads": [s.heads for s in shapes], "ffn": [s.ffn for s in shapes]}
    return {point: [torch.ones(size, dtype=torch.double) for size in given] for point, given in sizes.items()}


def in_double(stage, **settings):
    stage.model.double()
    return make_method("importance", stage, **(ALL | settings))


def losses(method, parts, batch):
    inputs = {name: value for name, value in batch.items() if name != "labels"}
    logits = method.model(**inputs, gates=method.gates(parts)).logits
    return F.cross_entropy(logits, batch["labels"], reduction="none")


@pytest.mark.parametrize("replace_by", ["mean", "none"])
@pytest.mark.parametrize("point", ["attention", "heads", "ffn"])
def test_it_is_the_finite_difference(point, replace_by):
    stage = context(rows=6)
    method = in_double(stage, replace_by=replace_by)
    parts = ones(method.model)
    found = method.estimate(parts)[point]
    batch, step = stage.train.batch(range(6)), 1e-5
    for layer, gate in enumerate(parts[point]):
        for index in range(min(3, len(gate))):
            ends = []
            for value in (1 + step, 1 - step):
                gate[index] = value
                with torch.no_grad():
                    ends.append(losses(method, parts, batch))
            gate[index] = 1
            expected = ((ends[0] - ends[1]) / (2 * step)).abs().mean()
            torch.testing.assert_close(found[layer][index], expected, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_each_text_counts_by_itself(kind):
    """In one padded batch as text by text, of which the absolute values are summed; not that of the batch's mean."""
    stage = context(rows=6, kind=kind, batch_size=4)  # two batches
    method = in_double(stage)
    parts = ones(method.model)
    every = [gate.requires_grad_() for given in parts.values() for gate in given]
    gradients = []
    for row in range(6):
        batch = stage.train.batch([row])
        labels = batch.pop("labels")
        loss = task_loss(kind, method.model(**batch, gates=method.gates(parts)).logits, labels, batch["attention_mask"])
        gradients.append(torch.cat(torch.autograd.grad(loss, every)))
    found = method.estimate({point: [gate.detach() for gate in given] for point, given in parts.items()})
    together = torch.cat([scores for given in found.values() for scores in given])
    torch.testing.assert_close(together, torch.stack(gradients).abs().mean(0), rtol=1e-6, atol=1e-9)
    of_the_mean = torch.stack(gradients).mean(0).abs()
    assert (of_the_mean <= together + 1e-9).all()
    assert (of_the_mean < 0.9 * together).any()


def test_that_of_a_unit_is_weight_times_gradient():
    stage = context(rows=1)
    method = in_double(stage)
    found = method.estimate(ones(method.model))["ffn"]
    losses(method, ones(method.model), stage.train.batch([0])).sum().backward()
    for layer, scores in zip(method.model.encoder.layers, found, strict=True):
        weight = layer.ffn_out.weight
        torch.testing.assert_close(scores, (weight * weight.grad).sum(0).abs(), rtol=1e-6, atol=1e-9)


def unchanged(method, gates):
    batch = method.context.selection.batch(range(8))
    del batch["labels"]
    with torch.no_grad():
        dense, trimmed = method.model.eval()(**batch).logits, trim(method.model, gates)(**batch).logits
    torch.testing.assert_close(trimmed, dense, atol=1e-5, rtol=0)


def test_a_head_that_gives_nothing_goes_and_changes_nothing():
    method = make_method("importance", context(), heads=5 / 6)
    torch.nn.init.zeros_(method.model.encoder.layers[1].attention.output.weight[:, :8])
    gates = method.decide()
    assert [gate.tolist() for gate in gates.heads] == [[1, 1], [0, 1], [1, 1]]
    assert (gates.ffn, gates.attention) == (None, None)
    unchanged(method, gates)


def test_units_that_give_nothing_go_and_change_nothing():
    method = make_method("importance", context(), ffn=0.5)
    dead = [torch.randperm(24, generator=torch.Generator().manual_seed(index))[:12] for index in range(3)]
    for layer, units in zip(method.model.encoder.layers, dead, strict=True):
        layer.ffn_out.weight.data[:, units] = 0
    gates = method.decide()
    for gate, units in zip(gates.ffn, dead, strict=True):
        assert gate.sum() == 12
        assert (gate[units] == 0).all()
    unchanged(method, gates)


@pytest.mark.parametrize("replace_by", ["mean", "none", "conv"])
def test_attention_layers_that_give_nothing_go(replace_by):
    method = make_method("importance", context(), keep_layers=1, replace_by=replace_by)
    for index in (0, 2):
        for weight in method.model.encoder.layers[index].attention.output.parameters():
            torch.nn.init.zeros_(weight)
    gates = method.decide()
    assert gates.attention.tolist() == [0, 1, 0]
    assert gates.removed == replace_by
    unchanged(method, gates)
    listed = method.notes()[1]
    assert listed.startswith("The importance of the attention layers")
    assert "0 0.0000, 1 " in listed


def test_heads_are_compared_after_normalisation_within_their_layer():
    method = make_method("importance", context(), heads=0.5)
    scores = [torch.tensor([10.0, 9.0]), torch.tensor([0.2, 0.1]), torch.tensor([1.0, 1.0])]
    method.estimate = lambda kept: {"heads": scores}
    assert [gate.tolist() for gate in method.decide().heads] == [[1, 0], [1, 0], [1, 0]]


def test_rounds_remove_a_part_and_estimate_again():
    method = make_method("importance", context(), rounds=3, **(ALL | {"keep_layers": 0}))
    estimate, seen = method.estimate, []

    def watched(kept):
        scores = estimate(kept)
        seen.append({point: int(sum(gate.sum() for gate in given)) for point, given in kept.items()})
        for point, given in kept.items():
            for gate, own in zip(given, scores[point], strict=True):
                assert (own[gate == 0] == 0).all()
        return scores

    method.estimate = watched
    gates = method.decide()
    assert [counts["attention"] for counts in seen] == [3, 2, 1]
    assert [counts["heads"] for counts in seen] == [6, 5, 4]
    assert [counts["ffn"] for counts in seen] == [72, 60, 48]
    assert (gates.attention.sum(), sum(g.sum() for g in gates.heads), sum(g.sum() for g in gates.ffn)) == (0, 3, 36)


def test_nothing_is_trained_and_the_same_comes_again():
    method = make_method("importance", context(), rows=10, **ALL)
    before = {name: weight.clone() for name, weight in method.model.train().state_dict().items()}
    first, again = method.decide(), method.decide()
    assert all(torch.equal(weight, before[name]) for name, weight in method.model.state_dict().items())
    assert all(weight.grad is None for weight in method.model.parameters())
    assert method.model.training
    assert repr(first) == repr(again)
    assert not method.trains
    assert "estimated on 10 rows" in method.notes()[0]


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_families(family):
    settings = {"albert": {"keep_layers": 1}, "mpnet": {"ffn": 0.5, "keep_layers": 1}}.get(family, ALL)
    method = make_method("importance", context(family=family), **settings)
    gates = method.decide()
    batch = method.context.selection.batch(range(8))
    del batch["labels"]
    with torch.no_grad():
        gated = method.model.eval()(**batch, gates=gates).logits
        trimmed = trim(method.model, gates)(**batch).logits
    torch.testing.assert_close(trimmed, gated, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("family", "settings", "match"),
    [
        ("bert", {}, "nothing to remove"),
        ("albert", {"heads": 0.5}, "cannot lose heads in single layers, because its layers share their weights"),
        ("albert", {"ffn": 0.5}, "cannot lose units in single layers, because its layers share their weights"),
        ("bert", {"keep_layers": 4}, "keep_layers=4 is out of range"),
    ],
)
def test_what_cannot_be_lost_is_said(family, settings, match):
    with pytest.raises(TrimformerError, match=match):
        make_method("importance", context(family=family), **settings)


@pytest.mark.parametrize("rounds", [1, 2])
@pytest.mark.parametrize("cost", ["flops", "params"])
def test_down_to_a_cost(cost, rounds):
    method = make_method("importance", context(), target=0.6, cost=cost, rows=16, rounds=rounds)
    result = method.result()
    assert float(result.notes[1].split()[0]) == pytest.approx(0.6, abs=0.05)  # a head of this model is a tenth
    assert len({shape.ffn for shape in result.model.config.shapes}) > 1  # units are compared over all layers


def test_down_to_a_cost_what_gives_nothing_goes_first():
    method = make_method("importance", context(), target=0.94, rows=16)
    method.model.encoder.layers[1].ffn_out.weight.data[:, 6:] = 0
    gates = method.decide()
    assert gates.ffn[1][:6].sum() + gates.ffn[0].sum() + gates.ffn[2].sum() == 54
    assert sum(gate.sum() for gate in gates.heads) == 6
    unchanged(method, gates)


def test_down_to_a_cost_or_by_shares():
    with pytest.raises(TrimformerError, match="leave heads, ffn and keep_layers out"):
        make_method("importance", context(), target=0.5, heads=0.5)
    with pytest.raises(TrimformerError, match="cannot lose heads in single layers"):
        make_method("importance", context(family="albert"), target=0.5)
