"""AttendOut as published: the estimator and the pruning step (methods of Algorithm 1)."""

import itertools

import pytest
import torch

from tests.learning import batches, context, make_method
from trimformer import TrimformerError
from trimformer.methods.attention.generator import Generator, empty_rows, kept, log_probability
from trimformer.training.distill import real_pairs


def test_the_estimator_is_unbiased_and_a_baseline_lowers_its_variance():
    """Two layers with two positions: the sampled gradient against all 16 masks, enumerated."""
    logits = torch.tensor([[0.3, -0.7], [1.1, 0.2]], dtype=torch.double).reshape(2, 1, 1, 1, 2).requires_grad_()
    pairs = torch.ones(1, 1, 1, 2, dtype=torch.bool)
    weights = torch.tensor([0.5, -1.0, 2.0, 0.3], dtype=torch.double)

    def reward(masks):
        return 3 + masks.flatten(-5) @ weights + masks[..., 0, 0, 0, 0, 0] * masks[..., 1, 0, 0, 0, 1]

    every = torch.tensor(list(itertools.product([0.0, 1.0], repeat=4)), dtype=torch.double).reshape(16, 2, 1, 1, 1, 2)
    log_p = torch.stack([log_probability(logits, masks, pairs) for masks in every])
    chance = torch.exp(log_p * 4).detach()  # the log probability is averaged over the 4 positions
    torch.testing.assert_close(chance.sum(), torch.ones((), dtype=torch.double))
    expected_reward = (chance * reward(every)).sum()
    exact = torch.autograd.grad((chance * reward(every) * log_p).sum(), logits, retain_graph=True)[0].flatten()

    torch.manual_seed(0)
    draws = torch.bernoulli(torch.sigmoid(logits.detach()).expand(100_000, *logits.shape))
    # d log_probability / d logit of one position is (mask - p) / 4.
    score = ((draws - torch.sigmoid(logits.detach())) / 4).flatten(1)
    plain = reward(draws)[:, None] * score
    centred = (reward(draws) - expected_reward)[:, None] * score
    for sample in (plain, centred):
        error = sample.std(0) / len(sample) ** 0.5
        assert ((sample.mean(0) - exact).abs() <= 3 * error).all()
    assert (centred.var(0) < plain.var(0)).all()
    one = torch.autograd.grad(log_probability(logits, draws[0], pairs), logits)[0].flatten()
    torch.testing.assert_close(one, score[0])


def test_log_probability_counts_real_pairs_only():
    mask = torch.tensor([[1, 1, 0]])
    pairs = real_pairs(mask)[:, None]
    logits = torch.randn(2, 1, 1, 3, 3)
    masks = (torch.rand_like(logits) < 0.5).float()
    inner = log_probability(logits[..., :2, :2], masks[..., :2, :2], real_pairs(mask[:, :2])[:, None])
    torch.testing.assert_close(log_probability(logits, masks, pairs), inner)
    hard, soft = kept(logits, pairs)
    assert hard.tolist() == (logits[..., :2, :2] > 0).flatten(1).sum(1).tolist()
    torch.testing.assert_close(soft, torch.sigmoid(logits[..., :2, :2]).flatten(1).sum(1))


def test_empty_rows_counts_real_queries_without_a_real_key():
    masks = torch.ones(2, 1, 1, 3, 3, dtype=torch.bool)
    masks[1, 0, 0, 0] = torch.tensor([False, False, True])  # only the padded key is left
    masks[1, 0, 0, 2] = False  # a padded query does not count
    assert empty_rows(masks, torch.tensor([[1, 1, 0]])).item() == pytest.approx(0.25)


def test_the_generator_is_one_attention_layer_applied_again_and_again():
    torch.manual_seed(0)
    generator = Generator(8, 3, std=0.5)
    hidden, mask = torch.randn(2, 5, 8), torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
    logits = generator(hidden, mask)
    assert logits.shape == (3, 2, 1, 5, 5)
    x = hidden[1, :3]
    for index in range(3):
        score = (x @ generator.query.weight.T) @ (x @ generator.key.weight.T).T / 8**0.5
        torch.testing.assert_close(logits[index, 1, 0, :3, :3], score)
        x = score.softmax(-1) @ (x @ generator.value.weight.T)
    assert sum(p.numel() for p in generator.parameters()) == 3 * 64


def test_the_generator_starts_near_its_keep_probability():
    logits = Generator(8, 2, keep_bias=0.9)(torch.randn(4, 5, 8), torch.ones(4, 5))
    assert torch.sigmoid(logits).mean().item() == pytest.approx(0.9, abs=0.01)


def trained(steps, **settings):
    stage = context()
    method = make_method("attendout-faithful", stage, pruning_step=3, **settings)
    for number, batch in enumerate(batches(stage, steps), 1):
        method.micro_step(batch, 1.0)
        method.update(number)
    return method


def test_after_a_pruning_step_the_opponents_are_equal_and_the_cache_is_empty():
    method = trained(2)
    weights = [method.networks[name].bare.state_dict() for name in "AD"]
    assert any(not torch.equal(weights[0][key], weights[1][key]) for key in weights[0])
    assert len(method.cache) == 2
    method = trained(3)
    weights = [method.networks[name].bare.state_dict() for name in "AD"]
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])
    moments = [method.networks[name].optimizer.state_dict()["state"] for name in "AD"]
    for index, state in moments[0].items():
        assert all(torch.equal(state[key], moments[1][index][key]) for key in state)
    assert method.cache == []
    assert len(method.history.curves["reward"]) == 1


def test_opponents_stay_separate_after_they_were_made_equal():
    method = trained(3)
    before = method.networks["D"].bare.head.output.weight.clone()
    method.networks["A"].bare.head.output.weight.data.add_(1)
    assert torch.equal(method.networks["D"].bare.head.output.weight, before)


def test_the_generator_gets_no_gradient_from_the_loss_of_a_and_moves_only_at_pruning_steps():
    stage = context()
    method = make_method("attendout-faithful", stage, pruning_step=2)
    start = method.generator.query.weight.clone()
    one, two = batches(stage, 2)
    method.micro_step(one, 1.0)
    assert all(p.grad is None for p in method.generator.parameters())
    method.update(1)
    assert torch.equal(method.generator.query.weight, start)
    assert method.moved() == 0
    method.micro_step(two, 1.0)
    method.update(2)
    assert not torch.equal(method.generator.query.weight, start)
    method.generator.load_state_dict({name: 3 * one for name, one in method.generator.state_dict().items()})
    method.start = method._weights() / 3
    assert method.moved() == pytest.approx(2)
    assert trained(3, control="untrained").generator.query.weight.grad is None


def test_a_constant_reward_equal_to_the_baseline_moves_nothing():
    method = trained(2)
    method.networks["G"].step = lambda: None
    method.reinforce(method.cache, torch.full((2,), 0.25), 0.25)
    for parameter in method.generator.parameters():
        assert (parameter.grad == 0).all()


def test_the_baseline_starts_at_the_first_mean_reward():
    method = trained(2)
    seen = []
    method.reinforce = lambda episodes, rewards, baseline: seen.append((rewards.mean().item(), baseline))
    cache = method.cache
    for step in (3, 6):
        method.cache = cache
        method.pruning_step(step)
    (first, start), (second, later) = seen
    assert start == pytest.approx(first)
    assert later == pytest.approx(first)  # the average of one reward
    assert method.baseline == pytest.approx(0.9 * first + 0.1 * second)


def test_the_reward_is_the_loss_of_d_minus_the_loss_of_a_under_its_masks():
    from trimformer import Gates
    from trimformer.encoder.model.heads import task_loss

    method = trained(2)
    rewards = method.rewards(method.cache)
    batch, masks = method.cache[1]
    inputs = {name: value for name, value in batch.items() if name != "labels"}
    defender, attacker = (method.networks[name].bare.eval() for name in "DA")
    with torch.no_grad():
        loss_d = task_loss("classification", defender(**inputs).logits, batch["labels"])
        loss_a = task_loss("classification", attacker(**inputs, gates=Gates(positions=masks)).logits, batch["labels"])
    torch.testing.assert_close(rewards[1], loss_d - loss_a)
    method.settings.reward = "sign"
    assert set(method.rewards(method.cache).tolist()) <= {-1.0, 0.0, 1.0}


def test_the_rule_and_the_reversed_control(monkeypatch):
    method = trained(1)
    monkeypatch.setattr(method, "layer_shares", lambda data: ([0.5, 0.51, 0.0], [0.5, 0.5, 0.1]))
    assert method.decide().attention.tolist() == [0, 1, 0]
    method.settings.rule = "strict"
    assert method.decide().attention.tolist() == [1, 1, 0]
    method.settings.keep_layers = 1
    assert method.decide().attention.tolist() == [0, 1, 0]
    monkeypatch.setattr(method, "layer_shares", lambda data: ([1.0, 1.0, 1.0], [0.5, 0.6, 0.7]))
    assert method.decide().attention.tolist() == [0, 0, 1]
    batch = batches(method.context, 1)[0]
    plain = method.keep_logits(batch)
    method.settings.control = "reversed"
    assert torch.equal(method.keep_logits(batch), plain.flip(0))


def test_too_many_layers_to_keep():
    with pytest.raises(TrimformerError, match="keep_layers=4 is out of range"):
        make_method("attendout-faithful", context(), keep_layers=4)


@pytest.mark.parametrize(
    "settings",
    [
        {"generator_start": "first-layer"},
        {"generator_residual": True},
        {"keep_bias": 0.9},
        {"reward_data": "selection"},
        {"reward_masked": False},
        {"copy_moments": False},
    ],
    ids=str,
)
def test_the_named_alternatives_run(settings):
    method = trained(3, **settings)
    assert len(method.history.curves["reward"]) == 1
    assert torch.isfinite(method.generator.query.weight).all()
    assert method.decide().attention.shape == (3,)
