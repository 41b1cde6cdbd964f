"""The means of kinds of positions."""

import pytest
import torch

from trimformer.methods.positions.findings import group_means, position_groups


def test_each_position_is_of_one_kind():
    for special in ([], [0], [0, 5]):
        groups = position_groups(6, special)
        assert list(groups) == ["diagonal", "neighbours", "special tokens", "rest"]
        assert torch.stack(list(groups.values())).sum(0).eq(1).all()
    assert position_groups(6, [0, 5])["diagonal"].nonzero().tolist() == [[1, 1], [2, 2], [3, 3], [4, 4]]
    assert position_groups(6, [0])["neighbours"].sum() == 8
    assert position_groups(6, [2])["special tokens"].sum() == 11


def test_means_and_intervals_of_known_values():
    values = torch.full((8, 8), 0.25)
    groups = position_groups(8, [0])
    for name, value in (("diagonal", 0.125), ("neighbours", 0.75)):
        values[groups[name]] = value
    values[groups["special tokens"]] = torch.tensor([0.0, 1.0, 0.5] * 5)
    found = {one.name: one for one in group_means(values, [0], seed=0)}
    assert {name: (one.positions, one.mean) for name, one in found.items()} == {
        "diagonal": (7, 0.125), "neighbours": (12, 0.75), "special tokens": (15, 0.5), "rest": (30, 0.25)
    }  # fmt: skip
    assert (found["diagonal"].low, found["diagonal"].high) == (0.125, 0.125)  # equal values have no spread
    spread = found["special tokens"]
    error = values[groups["special tokens"]].std(correction=0).item() / 15**0.5
    assert spread.high - spread.low == pytest.approx(2 * 1.96 * error, rel=0.15)
    assert group_means(values, [0], seed=0) == list(found.values())


def test_kinds_that_are_not_there_are_left_out():
    assert [one.name for one in group_means(torch.ones(2, 2), [], seed=0)] == ["diagonal", "neighbours"]
    assert [one.name for one in group_means(torch.ones(1, 1), [0], seed=0)] == ["special tokens"]
