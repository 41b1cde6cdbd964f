"""Lottery tickets: rounds that begin with the same weights under masks that grow."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.learning import batches, context, make_method
from trimformer import TrimformerError


def moved(method: Any, stage: Any, first: int, last: int) -> None:
    for step in range(first, last + 1):
        method.micro_step(batches(stage, 6)[(step - 1) % 6], 1.0)
        method.update(step)


def kept(method: Any) -> int:
    return sum(int(given[0].mask.sum()) for given in method.weights.values())


def test_what_stays_is_rewound_byte_for_byte_and_the_density_falls_by_a_tenth() -> None:
    stage = context(epochs=2)  # 12 steps, 3 for each of 4 trainings
    start = {name: weight.clone() for name, weight in stage.model.state_dict().items()}
    method = make_method("lottery-ticket", stage, rounds=3)
    total = sum(given.original.numel() for given in method.weights.values())
    before = total
    for round in range(1, 4):
        moved(method, stage, 3 * round - 2, 3 * round - 1)
        weights = {name: given.original.detach().clone() for name, given in method.weights.items()}
        masks = {name: given[0].mask.clone() for name, given in method.weights.items()}
        assert not torch.equal(weights["0.ffn_in"], start["encoder.layers.0.ffn_in.weight"])
        moved(method, stage, 3 * round, 3 * round)
        assert kept(method) == int(0.9**round * total) < before
        before = kept(method)
        for name, given in method.weights.items():
            assert not (given[0].mask & ~masks[name]).any()  # what went stays away
            assert torch.equal(given.original, start[f"encoder.layers.{name}.weight"])
            used = method.model.encoder.layers.get_submodule(name).weight
            assert torch.equal(used, start[f"encoder.layers.{name}.weight"] * given[0].mask)
        others = {name: weight for name, weight in method.model.state_dict().items() if name in start}
        assert any(name.startswith("head") for name in others)  # it is rewound, too, and not masked
        assert all(torch.equal(weight, start[name]) for name, weight in others.items())
        assert not method.networks["model"].optimizer.state
        assert method.networks["model"].scheduler.last_epoch == 0
    moved(method, stage, 10, 12)
    assert method.round == 3
    assert kept(method) == int(0.9**3 * total)
    assert method.networks["model"].scheduler.last_epoch == 3


def test_the_largest_of_the_trained_weights_stay() -> None:
    stage = context(epochs=2)
    method = make_method("lottery-ticket", stage, rounds=1, share=0.5)
    moved(method, stage, 1, 5)
    method.networks["model"].load_state_dict = lambda state: None  # look at what would be rewound
    moved(method, stage, 6, 6)
    trained = torch.cat([given.original.abs().flatten() for given in method.weights.values()])
    mask = torch.cat([given[0].mask.flatten() for given in method.weights.values()])
    assert trained[mask].min() >= trained[~mask].max()
    assert int(mask.sum()) == len(mask) // 2


def test_too_few_steps_for_the_rounds_are_refused() -> None:
    with pytest.raises(TrimformerError, match="8 rounds and the last training need 9 steps at least"):
        make_method("lottery-ticket", context(), rounds=8)


def test_a_training_that_was_cut_short_still_leaves_the_density() -> None:
    stage = context()
    method = make_method("lottery-ticket", stage, rounds=3)
    moved(method, stage, 1, 2)
    notes = method.result().notes
    assert kept(method) == int(0.9**3 * sum(given.original.numel() for given in method.weights.values()))
    assert "the largest of all layers after 1 of 3 rounds" in notes[0]
