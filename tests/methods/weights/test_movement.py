"""Movement pruning: the gradient of the scores, hard and soft masks, their schedules, and what the report says."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from tests.learning import batches, context, make_method
from trimformer import TrimformerError
from trimformer.methods.weights.masks import parametrized
from trimformer.methods.weights.movement import Scored, above


def trained(stage: Any, name: str = "movement", **settings: Any) -> Any:
    method = make_method(name, stage, **settings)
    for step in range(1, stage.steps + 1):
        method.micro_step(batches(stage, 6)[(step - 1) % 6], 1.0)
        method.update(step)
    return method


def toy() -> tuple[nn.Linear, Scored, torch.Tensor]:
    torch.manual_seed(0)
    module = nn.Linear(5, 4)
    mask = Scored(module.weight, nn.Parameter(torch.randn(4, 5)), (1, 1))
    parametrized(module, mask)
    mask.keep(torch.rand(4, 5) > 0.5)
    return module, mask, torch.randn(3, 5)


def test_the_gradient_of_a_score_is_that_of_the_masked_weight_times_the_weight() -> None:
    module, mask, x = toy()
    used = module.weight
    used.retain_grad()
    loss = nn.functional.linear(x, used, module.bias).square().sum()
    loss.backward()
    dense = module.parametrizations.weight.original  # type: ignore[union-attr]
    assert torch.equal(used, dense * mask.mask)
    torch.testing.assert_close(mask.scores.grad, used.grad * dense, atol=1e-6, rtol=0)
    torch.testing.assert_close(dense.grad, used.grad * mask.mask, atol=1e-6, rtol=0)
    assert mask.scores.grad[~mask.mask].abs().min() > 0  # what is masked learns on and can come back


def test_the_score_of_a_weight_that_is_0_never_moves() -> None:
    stage = context(epochs=2)
    stage.model.encoder.layers[0].ffn_in.weight.data[3, 2] = 0.0
    method = make_method("movement", stage, density=0.5)
    scored = method.weights["0.ffn_in"]
    for step in range(1, 7):
        method.micro_step(batches(stage, 6)[step - 1], 1.0)
        method.update(step)
        with torch.no_grad():
            scored.original[3, 2] = 0.0  # whatever the optimiser makes of it
    assert scored[0].scores[3, 2] == 0
    assert (scored[0].scores != 0).float().mean() > 0.9


def test_scores_have_a_learning_rate_of_their_own_and_do_not_decay() -> None:
    stage = context(weight_decay=0.5)
    method = make_method("movement", stage, density=0.5, score_learning_rate=0.25)
    *others, own = method.networks["model"].optimizer.param_groups
    assert len(own["params"]) == len(method.weights)
    assert (own["initial_lr"], own["weight_decay"]) == (0.25, 0.0)
    assert all(group["initial_lr"] == 1e-3 for group in others)
    scores = {id(scored[0].scores) for scored in method.weights.values()}
    assert scores == {id(p) for p in own["params"]}
    assert not scores & {id(p) for group in others for p in group["params"]}
    short = make_method("movement", context(), density=0.5)
    assert short.networks["model"].optimizer.param_groups[-1]["initial_lr"] == 12 / 6


@pytest.mark.parametrize("density", [0.3, 0.77])
def test_of_each_matrix_exactly_the_share_with_the_largest_scores_stays(density: float) -> None:
    method = trained(context(), density=density)
    found = method.result().model.encoder.layers
    for name, scored in method.weights.items():
        mask, scores = scored[0].mask, scored[0].scores
        assert int(mask.sum()) == int(density * mask.numel())
        assert scores[mask].min() >= scores[~mask].max()
        assert torch.equal(found.get_submodule(name).weight, scored.original * mask)


def test_equal_scores_leave_the_first_weights() -> None:
    method = make_method("movement", context(), density=0.5)
    method.prune(method.context.steps)
    for scored in method.weights.values():
        flat = scored[0].mask.flatten()
        assert flat[: len(flat) // 2].all()
        assert not flat[len(flat) // 2 :].any()


def test_the_schedule_has_a_warm_up_and_a_cool_down() -> None:
    stage = context(rows=80)  # 10 steps
    method = make_method("movement", stage, density=0.2, begin=0.2, end=0.7)
    shares = []
    for step in range(1, 11):
        method.prune(step)
        shares.append(method.density())
    assert shares[:2] == [1.0, 1.0]
    assert shares[6:] == [shares[-1]] * 4
    assert shares[3] == pytest.approx(0.2 + 0.8 * (1 - 0.2 / 0.5) ** 3, abs=0.01)


def test_soft_thresholds_and_the_penalty_grow_together() -> None:
    stage = context(rows=80)
    method = make_method("movement", stage, penalty=4.0, begin=0.2, end=0.7)
    assert method.penalty().item() == 0
    method.prune(4)
    part = 1 - (1 - 0.2 / 0.5) ** 3
    assert method.threshold() == pytest.approx(0.1 * part)
    assert method.penalty().item() == pytest.approx(4.0 * part * 0.5)  # σ(0) is a half
    method.prune(10)
    assert method.threshold() == 0.1
    method.penalty().backward()
    scores = method.weights["0.ffn_in"][0].scores
    wanted = torch.full_like(scores, 4.0 * 0.25 / scores.numel() / len(method.weights))
    torch.testing.assert_close(scores.grad, wanted)


def test_soft_masks_keep_at_least_half_a_percent() -> None:
    scores = torch.linspace(-9, 1, 1001).flip(0)
    assert int(above(scores, 0.1).sum()) == int((scores.sigmoid() > 0.1).sum()) > 6
    kept = above(scores - 20, 0.1)
    assert kept.nonzero().flatten().tolist() == list(range(6))


def test_soft_pruning_finds_a_density_and_says_it() -> None:
    method = trained(context(epochs=4), penalty=400.0)
    result = method.result()
    assert 0.005 <= method.density() < 0.9
    assert f"({method.density():.1%}), those whose score is above the threshold of 0.1" in result.notes[0]
    assert "hardware for dense matrices needs as long as before" in result.notes[1]


@pytest.mark.parametrize("name", ["movement", "block-movement"])
@pytest.mark.parametrize("given", [{}, {"density": 0.5, "penalty": 1.0}])
def test_either_a_density_or_a_penalty_is_needed(name: str, given: dict[str, float]) -> None:
    with pytest.raises(TrimformerError, match=f"method {name} needs either a density.* or a penalty"):
        make_method(name, context(), **given)


@pytest.mark.parametrize("name", ["magnitude", "movement", "rpp"])
def test_the_row_of_the_report_says_that_no_time_is_saved(name: str) -> None:
    label = make_method(name, context(), density=0.25).settings.label
    assert label == f"{name}, keep 25% of the weights (zeros: no time saved on dense hardware)"
