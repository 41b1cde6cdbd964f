"""The study of positions: a factor for each is learned together with the weights."""

import dataclasses

import pytest
import torch

from tests.learning import batches, context, make_method
from tests.methods.positions.test_dam import neighbours
from tests.models import FAMILY_NAMES, tiny
from trimformer import Gates, TrimformerError, trim
from trimformer.methods import METHODS
from trimformer.training.loop import train


def inputs(batch):
    return {name: value for name, value in batch.items() if name != "labels"}


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_the_study_begins_with_the_model_as_it_is(family):
    stage = context(family=family)
    method, batch = make_method("position-importance", stage), inputs(batches(stage, 1)[0])
    method.model.eval()
    gates = method.gates(method.factors(batch["input_ids"].shape[1]))
    torch.testing.assert_close(method.model(**batch, gates=gates).logits, method.model(**batch).logits)
    method.factors.logits.data.normal_()
    gates = method.gates(method.factors(batch["input_ids"].shape[1]))
    assert not torch.allclose(method.model(**batch, gates=gates).logits, method.model(**batch).logits, atol=1e-5)


def test_a_factor_multiplies_what_a_query_takes_from_a_key():
    """By the definition: softmax weights times P, brought to a sum of 1 over the real keys."""
    stage = context(layers=1)
    attention, (query, key, value) = stage.model.eval().encoder.layers[0].attention, torch.randn(3, 2, 4, 7, 8)
    torch.manual_seed(0)
    x = torch.randn(2, 7, attention.query.in_features)
    from trimformer.encoder.parts.tokens import Tokens
    from trimformer.encoder.shape.gates import LayerGates

    mask = torch.tensor([[1] * 7, [1] * 4 + [0] * 3])
    factors = torch.rand(1, 1, 7, 7)
    found = attention.mix(x, Tokens(x, mask), LayerGates(contributions=factors))
    query, key, value = (attention.split(part(x)) for part in (attention.query, attention.key, attention.value))
    weights = (query @ key.transpose(-1, -2) * attention.scale).exp() * factors * mask[:, None, None]
    weights = weights / weights.sum(-1, keepdim=True)
    expected = attention.output((weights @ value).transpose(1, 2).flatten(2))
    torch.testing.assert_close(found[mask.bool()], expected[mask.bool()])
    nothing = attention.mix(x, Tokens(x, mask), LayerGates(contributions=torch.zeros(1, 1, 7, 7)))
    assert nothing.isfinite().all()


@pytest.mark.parametrize("per_layer", [False, True])
def test_of_a_task_of_neighbours_these_count_most(tmp_path, per_layer):
    stage = context(kind="tokens", layers=1, epochs=15, batch_size=32, learning_rate=3e-3, keep_best=False)
    data = neighbours(640, 1)
    stage = dataclasses.replace(stage, train=data, selection=data, steps=300)
    method = make_method("position-importance", stage, per_layer=per_layer)
    train(method, data, stage.training, stage.accelerator, tmp_path, seed=0, title="toy")
    found = method.found()
    assert (found.length, found.special, found.maps[0].layer) == (12, [0], 0 if per_layer else None)
    means = {group.name: group for group in found.maps[0].groups}
    values = torch.tensor(found.maps[0].values)
    before, after = values.diagonal(-1)[1:], values.diagonal(1)[1:]
    assert before.mean() > 0.8
    assert before.min() > 0.6 > after.mean()
    assert all(means["neighbours"].mean > means[name].mean for name in ("diagonal", "special tokens", "rest"))
    assert means["neighbours"].mean == pytest.approx(torch.cat([before, after]).mean().item(), abs=1e-3)
    last = method.history.curves["importance: neighbours"][-1]
    assert last == (300, pytest.approx([means["neighbours"].mean] if per_layer else means["neighbours"].mean))
    assert "neighbours" in method.notes()[0]


def test_what_few_texts_reach_is_not_shown_but_learned():
    method = make_method("position-importance", context(), per_layer=True)
    lengths = sorted(method.context.train.lengths)
    assert method.factors.logits.shape == (3, max(lengths), max(lengths))
    assert method.length == int((lengths[23] + lengths[24]) / 2) < max(lengths)
    assert [(one.layer, len(one.values)) for one in method.found().maps] == [(i, method.length) for i in range(3)]


def test_the_weights_are_left_without_factors_and_these_without_decay():
    stage = context(attention={1: "mean"})
    method = make_method("position-importance", stage)
    assert method.studied == [0, 2]
    assert {group["weight_decay"] for group in method.networks["factors"].optimizer.param_groups} == {0.0}
    method.micro_step(batches(stage, 1)[0], 1.0)
    method.update(1)
    result = method.result()
    assert result.model.config.shapes == stage.model.config.shapes
    assert result.positions is not None
    assert "without them" in result.notes[-1]


def test_layers_that_do_not_see_all_are_not_studied():
    stage = context(attention={1: "sparse"})
    method = make_method("position-importance", stage)
    assert method.studied == [0, 2]
    assert "the layers 1 do not attend to all tokens" in " ".join(method.notes())
    config = trim(tiny(), attention=dict.fromkeys(range(3), "sparse")).config
    with pytest.raises(TrimformerError, match="No layer of this encoder attends to all tokens"):
        METHODS["position-importance"].check(method.settings, config)


def test_factors_cannot_be_trimmed_and_what_has_no_positions_is_refused():
    factors = [torch.full((1, 1, 5, 5), 0.5)] * 3
    with pytest.raises(TrimformerError, match="Factors of attention weights cannot be trimmed"):
        trim(context().model, Gates(contributions=factors))
    trim(context().model, Gates(contributions=[torch.ones(1, 1, 5, 5)] * 3))
    with pytest.raises(TrimformerError, match="No layer of this encoder attends to all tokens"):
        make_method("position-importance", context(attention={0: "mean", 1: "none", 2: "mean"}))
