"""The pull of a cost towards a target: its three branches, what is counted, and its curves."""

import pytest
import torch

from tests.learning import context
from trimformer import Gates
from trimformer.methods.architecture.target import CostTarget, TargetSettings, cost_loss
from trimformer.methods.history import History

R, T, JUST = 0.5, 0.05, 1e-6


@pytest.mark.parametrize(
    ("now", "sign"),
    [(R * (1 + T) + JUST, 1), (R * (1 + T) - JUST, 0), (R, 0), (R * (1 - T) + JUST, 0), (R * (1 - T) - JUST, -1)],
)
def test_the_loss_is_log_e_above_minus_log_e_below_and_nothing_between(now, sign):
    expected = torch.tensor(0.7, requires_grad=True)
    loss = cost_loss(expected, now, R, T)
    assert loss.item() == pytest.approx(sign * torch.tensor(0.7).log().item())
    if sign:
        loss.backward()
        assert expected.grad.item() == pytest.approx(sign / 0.7)


def target(cost, **others):
    return CostTarget(TargetSettings(name="x", cost=cost, target=0.5, **others), context(epochs=2))


def test_bytes_are_those_of_the_weights():
    gates = Gates(ffn=[torch.full((24,), 0.5)] * 3)
    weights, size = target("params").cost, target("bytes").cost
    assert size(gates).item() == 4 * weights(gates).item()
    assert size.share(gates).item() == pytest.approx(weights.share(gates).item())


def test_the_cost_is_written_down_at_the_first_step_and_after_each_epoch():
    history, aim = History(), target("params", cost_weight=3.0)
    for step in range(1, aim.steps + 1):
        aim.record(history, step, 0.9)
    assert [step for step, _ in history.curves["cost"]] == [1, 6, 12]
    assert history.curves["cost target"] == [(1, 0.5), (6, 0.5), (12, 0.5)]
    assert aim.loss(torch.tensor(0.8), 0.9).item() == pytest.approx(3 * torch.tensor(0.8).log().item())
    assert aim.note(0.51) == "0.510 of the dense weights stay, within 0.05 of the target 0.5."
    assert "not within" in aim.note(0.53)
