"""Hard-concrete gates: their distribution, the budget, what is settled in the end, a toy whose best mask is known."""

import math

import pytest
import torch

from tests.learning import batches, context, make_method
from tests.models import padded_batch
from trimformer import TrimformerError, trim
from trimformer.methods.hard_concrete import LIMIT, keep_probability, sample, settled
from trimformer.training.loop import train


def fit(stage, tmp_path, **settings):
    method = make_method("hard-concrete", stage, **settings)
    train(method, stage.train, stage.training, stage.accelerator, tmp_path, seed=0, title="toy")
    return method


@pytest.mark.parametrize("logit", [-2.0, 0.0, 1.5])
def test_the_chance_not_to_be_zero(logit):
    torch.manual_seed(0)
    z = sample(torch.full((100_000,), logit))
    chance = keep_probability(torch.tensor(logit)).item()
    assert chance == pytest.approx(1 / (1 + math.exp(-logit + 2 / 3 * math.log(0.1 / 1.1))))
    error = 3 * (chance * (1 - chance) / len(z)) ** 0.5
    assert abs((z > 0).float().mean().item() - chance) <= error
    assert 0 <= z.min() <= z.max() <= 1
    assert (z == 1).any()


def test_a_sample_has_a_gradient_where_it_is_neither_0_nor_1():
    torch.manual_seed(0)
    logits = torch.zeros(1000, requires_grad=True)
    z = sample(logits)
    z.sum().backward()
    assert torch.equal(logits.grad > 0, (z > 0) & (z < 1))


def test_as_many_are_zero_in_the_end_as_are_expected_and_the_lowest():
    logits = torch.tensor([-LIMIT, 0.0, LIMIT, -LIMIT, LIMIT])
    gates = settled(logits)
    zeros = round(5 - keep_probability(logits).sum().item())
    assert zeros == 2
    assert torch.equal(gates == 0, logits == -LIMIT)
    torch.testing.assert_close(gates[2].item(), torch.sigmoid(torch.tensor(0.8 * 1.5 * LIMIT)).item())


def test_the_multipliers_ascend(tmp_path):
    stage = context(epochs=1)
    method = make_method("hard-concrete", stage, target=0.5)
    method.step = stage.steps  # the whole way down to the target
    multipliers = method.networks["multipliers"].bare.values
    for batch in batches(stage, 1):
        values = method.micro_step(batch, 1.0)
        assert values["cost"] > 0.9
        method.update(1)
    assert (multipliers > 0).all()  # too expensive: the price rises


@pytest.mark.parametrize(
    ("cost", "parts", "target", "rounding"),
    [
        ("flops", ["attention", "heads", "blocks", "units", "hidden"], 0.6, 0.2),  # few and large parts
        ("flops", ["units", "hidden"], 0.6, 0.1),
        ("params", ["units"], 0.8, 0.05),
    ],
    ids=str,
)
def test_the_budget_is_reached(tmp_path, cost, parts, target, rounding):
    stage = context(layers=2, rows=160, epochs=12, learning_rate=1e-3)
    method = fit(stage, tmp_path, target=target, cost=cost, parts=parts, gate_learning_rate=0.2)
    expected = method.cost(method.assemble(method.gates.probabilities())).item() / method.dense_cost
    assert expected == pytest.approx(target, abs=0.05)
    gates = method.decide()
    trimmed = trim(method.model, gates).eval()
    batch = padded_batch(trimmed)
    with torch.no_grad():
        torch.testing.assert_close(
            trimmed(**batch).logits, method.model.eval()(**batch, gates=gates).logits, atol=1e-5, rtol=1e-4
        )
    (note,) = method.notes()
    assert float(note.split()[0]) == pytest.approx(target, abs=rounding)


def test_units_that_matter_stay(tmp_path):
    """Only the first units of the last block have output weights: the others are worth nothing."""
    stage = context(layers=1, rows=240, epochs=12, learning_rate=1e-4)
    layer = stage.model.encoder.layers[0]
    with torch.no_grad():
        layer.ffn_out.weight[:, 6:] = 0
        layer.ffn_out.weight[:, :6] *= 3
    method = make_method("hard-concrete", stage, target=0.75, parts=["units"], gate_learning_rate=0.1)
    for network in ("model",):  # the weights stay as they are
        method.networks[network].step = lambda: None
    train(method, stage.train, stage.training, stage.accelerator, tmp_path, seed=0, title="toy")
    logits = method.gates.logits["units"][0].detach()
    assert logits[:6].min() > logits[6:].max()


def test_a_target_out_of_reach_is_refused():
    with pytest.raises(TrimformerError, match=r"A target of 0.1 is out of reach: without any of units 0\.\d+"):
        make_method("hard-concrete", context(), target=0.1, parts=["units"])


@pytest.mark.parametrize(
    ("family", "parts", "match"),
    [
        ("mpnet", ["heads"], "cannot lose heads"),
        ("deberta-v2", ["hidden"], "cannot lose hidden"),
        ("albert", ["units"], "share"),
    ],
)
def test_what_an_encoder_cannot_lose(family, parts, match):
    with pytest.raises(TrimformerError, match=match):
        make_method("hard-concrete", context(family=family), target=0.5, parts=parts)
