"""AttendOut, layerwise: the gates learn what is rewarded."""

import itertools

import pytest
import torch

from tests.learning import batches, context, make_method
from tests.tables import PIECES, cached
from trimformer import TrimformerError, trim
from trimformer.methods import METHODS
from trimformer.methods.attention.layerwise import Policy, entropy, leave_one_out, log_probability


def test_the_estimator_with_leave_one_out_equals_the_exact_gradient():
    policy = Policy(4, 0.6).double()
    policy.logits.data = torch.tensor([0.3, -0.7, 1.1, 0.2], dtype=torch.double)
    weights = torch.tensor([0.5, -1.0, 2.0, 0.3], dtype=torch.double)
    every = torch.tensor(list(itertools.product([0.0, 1.0], repeat=4)), dtype=torch.double)
    chance = log_probability(policy.logits, every).exp()
    torch.testing.assert_close(chance.sum(), torch.ones((), dtype=torch.double))
    exact = torch.autograd.grad((chance * (5 + every @ weights)).sum(), policy.logits)[0]
    torch.manual_seed(0)
    sets = policy.sample(100_000).double()
    score = sets - torch.sigmoid(policy.logits.detach())
    groups = (5 + sets @ weights).reshape(-1, 4)
    advantages = torch.cat([leave_one_out(group) for group in groups.unbind()])
    for factor in (5 + sets @ weights, advantages):
        sample = factor[:, None] * score
        assert ((sample.mean(0) - exact).abs() <= 3 * sample.std(0) / len(sample) ** 0.5).all()
    assert (advantages[:, None] * score).var(0).sum() < ((5 + sets @ weights)[:, None] * score).var(0).sum()


def test_leave_one_out_subtracts_the_mean_of_the_others():
    torch.testing.assert_close(leave_one_out(torch.tensor([1.0, 2.0, 6.0])), torch.tensor([-3.0, -1.5, 4.5]))
    assert leave_one_out(torch.full((4,), 0.3)).abs().max() < 1e-6


def test_entropy_is_largest_at_one_half():
    assert entropy(torch.zeros(3)).item() == pytest.approx(3 * 0.6931, abs=1e-3)
    assert entropy(torch.tensor([6.0])) < entropy(torch.tensor([1.0])) < entropy(torch.zeros(1))


def learn(stage, method, scores, steps):
    """Run the gates alone, with made-up scores of the sampled sets."""
    method.held_out_scores = lambda sets, step: scores(sets)
    for step in range(1, steps + 1):
        method.update(step)
    return torch.sigmoid(method.policy.logits.detach())


def test_bandit_only_the_layer_that_pays_is_removed():
    stage = context(layers=4)
    method = make_method("attendout", stage, removal=0.0, entropy=0.05, gate_learning_rate=0.05, initial_keep=0.6)
    method.networks["A"].step = lambda: None
    keep = learn(stage, method, lambda sets: 1.0 - sets[:, 2], 250)
    assert keep[2] < 0.05
    assert (keep[[0, 1, 3]] > 0.2).all()


def test_the_target_count_is_reached_and_the_best_layers_stay():
    stage = context(layers=4, epochs=40)
    method = make_method("attendout", stage, keep_layers=2)
    method.networks["A"].step = lambda: None
    worth = torch.tensor([0.0, 1.0, 0.0, 1.0])
    keep = learn(stage, method, lambda sets: sets @ worth, stage.steps)
    assert keep.sum().item() == pytest.approx(2, abs=0.7)
    assert keep[[1, 3]].min() > keep[[0, 2]].max()
    method._final_reward = lambda kept: float(worth[list(kept)].sum())
    assert method.decide().attention.tolist() == [0, 1, 0, 1]
    method.settings.control = "reversed"
    assert method.decide().attention.tolist() == [1, 0, 1, 0]


def test_the_target_falls_linearly_from_all_layers():
    stage = context(layers=4, epochs=10)  # 60 steps
    method = make_method("attendout", stage, keep_layers=2, anneal=0.5, target_weight=1.0)
    sets = torch.tensor([[1.0, 1, 1, 1], [1, 1, 0, 1], [0, 1, 1, 0]])
    torch.testing.assert_close(method.removal_reward(sets, 15), torch.tensor([-1.0, 0.0, -1.0]))
    torch.testing.assert_close(method.removal_reward(sets, 30), torch.tensor([-2.0, -1.0, 0.0]))
    torch.testing.assert_close(method.removal_reward(sets, 60), torch.tensor([-2.0, -1.0, 0.0]))


@pytest.mark.parametrize("cost", ["flops", "params"])
def test_without_a_target_equal_layers_earn_the_same(cost):
    method = make_method("attendout", context(layers=4), removal=0.4, cost=cost)
    sets = torch.tensor([[1.0, 1, 1, 1], [1, 1, 0, 1], [0, 1, 1, 0], [0, 0, 0, 0]])
    torch.testing.assert_close(method.removal_reward(sets, 5), torch.tensor([0.0, 0.1, 0.2, 0.4]))


MS = {"cost": "ms", "backend": "torch", "length": 8}


def test_without_a_target_layers_earn_the_milliseconds_that_they_save(tmp_path, monkeypatch):
    """From the last one on that mixes the tokens they are computed for the first token alone."""
    cached(monkeypatch, tmp_path)
    method = make_method("attendout", context(), removal=0.4, replace_by="none", **MS)
    sets = torch.tensor([[1.0, 1, 1], [1, 0, 0], [0, 0, 1], [0, 0, 0]])
    times = torch.tensor([2 * (6 + 7) + 1.5 + 0.3, 1.5 + 0.3 + 2 * 0.3, 2 * 7 + 1.5 + 0.3, 3 * 0.3])
    prizes = 0.4 * (times[0] - times) / (times[0] - times[3])
    torch.testing.assert_close(method.removal_reward(sets, 5), prizes)
    monkeypatch.setattr("trimformer.methods.attention.layerwise.mean_loss", lambda *_, **__: 1.0)
    assert method._final_reward((2,)) == pytest.approx(-1 + prizes[2].item())


def test_what_is_resumed_goes_on_with_the_times_that_it_began_with(tmp_path, monkeypatch):
    cached(monkeypatch, tmp_path / "first")
    method = make_method("attendout", context(), **MS)
    cached(monkeypatch, tmp_path / "second", pieces=PIECES, first=False)
    again = make_method("attendout", context(), **MS)
    assert again.cost.table != method.cost.table
    again.load_state_dict(method.state_dict())
    assert again.cost.table == method.cost.table


def test_attention_that_takes_no_time_cannot_be_a_prize(tmp_path, monkeypatch):
    cached(monkeypatch, tmp_path, pieces=PIECES | {"mean": {0: 6.0}}, first=False)
    with pytest.raises(TrimformerError, match=r"not reduce the milliseconds \(torch, batch 1, 8 tokens\)"):
        make_method("attendout", context(), **MS)
    make_method("attendout", context(), keep_layers=1, **MS)


def test_scores_are_of_the_held_out_batch_under_each_set():
    from trimformer import Gates
    from trimformer.encoder.model.heads import task_loss

    stage = context()
    method = make_method("attendout", stage, keep_layers=1)
    sets = torch.tensor([[1.0, 1, 1], [0, 0, 1], [1, 1, 1]])
    scores = method.held_out_scores(sets, 1)
    batch = method.held_out.batch(1)
    model = method.model.eval()
    with torch.no_grad():
        for gates, score in zip(sets, scores, strict=True):
            out = model(batch["input_ids"], batch["attention_mask"], gates=Gates(attention=gates))
            torch.testing.assert_close(score, -task_loss("classification", out.logits, batch["labels"]))
    seen = [method.held_out.batch(step)["input_ids"].shape[0] for step in range(1, 4)]
    assert sum(seen) == len(stage.selection)  # one round over the selection split, none of train


def test_the_untrained_control_never_moves_its_gates_and_draws_a_set():
    stage = context()
    method = make_method("attendout", stage, keep_layers=2, control="untrained")
    start = method.policy.logits.clone()
    for number, batch in enumerate(batches(stage, 3), 1):
        method.micro_step(batch, 1.0)
        method.update(number)
    assert torch.equal(method.policy.logits, start)
    assert method.decide().attention.sum() == 2


def test_random_finalists_are_drawn_without_learning_and_the_best_of_them_is_kept():
    stage = context(layers=4)
    method = make_method("attendout", stage, keep_layers=2, control="random-finalists", finalists=4)
    method.micro_step(batches(stage, 1)[0], 1.0)
    method.update(1)
    assert method.policy.logits.unique().numel() == 1
    drawn = method._sampled_sets(4)
    assert len(set(drawn)) == 4
    best = max(drawn, key=method._final_reward)
    assert method.decide().attention.nonzero().flatten().tolist() == list(best)


def test_finalists_are_distinct_and_of_the_right_size():
    method = make_method("attendout", context(layers=4), keep_layers=2)
    method.policy.logits.data = torch.tensor([3.0, 1.0, -1.0, -3.0])
    sets = method._sampled_sets(4)
    assert sets[0] == (0, 1)
    assert len(set(sets)) == 4
    assert all(len(chosen) == 2 for chosen in sets)


@pytest.mark.parametrize(
    ("name", "keep", "expected"), [("last-k", 2, [1, 1, 0, 0]), ("last-k", 0, [0] * 4), ("last-k", 4, [1] * 4)]
)
def test_last_k(name, keep, expected):
    assert make_method(name, context(layers=4), keep_layers=keep).decide().attention.tolist() == expected


def test_random_k_follows_the_seed():
    draws = {
        seed: make_method("random-k", context(layers=6, seed=seed), keep_layers=3).decide().attention.tolist()
        for seed in range(6)
    }
    assert all(sum(draw) == 3 for draw in draws.values())
    assert len({tuple(draw) for draw in draws.values()}) > 1
    again = make_method("random-k", context(layers=6, seed=2), keep_layers=3).decide().attention.tolist()
    assert again == draws[2]


KEEPING = [name for name, method in METHODS.items() if "keep_layers" in method.Settings.model_fields]


@pytest.mark.parametrize("name", KEEPING)
@pytest.mark.parametrize("keep", [2, 4])
def test_layers_without_attention_do_not_count(name, keep):
    """As where a stage before has removed some; were they counted, one of 2 would be such a layer."""
    stage = context(layers=5, attention={0: "mean", 1: "mean"}, epochs=0.4)
    method = make_method(name, stage, keep_layers=keep)
    if method.trains:
        for step in (1, 2):
            method.micro_step(batches(stage, 1)[0], 1.0)
            method.update(step)
    trimmed = trim(method.model, method.decide())
    assert sum(shape.attention == "full" for shape in trimmed.config.shapes) == min(keep, 3)


@pytest.mark.parametrize("name", ["last-k", "random-k", "attendout"])
def test_more_layers_than_there_are_cannot_stay(name):
    with pytest.raises(TrimformerError, match="out of range"):
        make_method(name, context(), keep_layers=9).decide()
