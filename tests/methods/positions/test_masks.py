"""Masks of positions: their form, and what a draw is expected to keep."""

import pytest
import torch

from trimformer.methods.positions import masks
from trimformer.methods.positions.masks import PositionMasks, drawn

STRUCTURES = ["structured", "unstructured"]


@pytest.mark.parametrize("special", [False, True])
@pytest.mark.parametrize("structure", STRUCTURES)
def test_masks_are_symmetric_and_structured_ones_toeplitz(structure, special):
    torch.manual_seed(0)
    made = PositionMasks(2, 3, 9, structure, special)
    assert made.logits.shape == (2, 3, 9 if structure == "structured" else 45)
    for n in (1, 6, 9):
        found = made.over(made(), n)
        assert found.shape == (2, 3, n, n)
        assert torch.equal(found, found.transpose(-1, -2))
        inner = found[..., int(special) :, int(special) :]
        same = torch.equal(inner[..., 1:, 1:], inner[..., :-1, :-1])
        assert same if structure == "structured" else (n == 1 or not same)
        assert not special or (found[..., 0, :].eq(1).all() and found[..., :, 0].eq(1).all())
    short, whole = (made.over(values := made.settled(), n) for n in (5, 9))
    assert torch.equal(short, whole[..., :5, :5]), values


@pytest.mark.parametrize("temperature", [1.0, 0.3, 4.0])
def test_a_draw_keeps_a_position_with_the_probability_of_its_logit(monkeypatch, temperature):
    """The law of the difference of two Gumbel variables is logistic, whatever the temperature: 3 standard errors."""
    monkeypatch.setattr(masks, "TEMPERATURE", temperature)
    torch.manual_seed(0)
    logits, count = torch.tensor([-3.0, -0.7, 0.0, 0.4, 2.0]), 100_000
    found = drawn(logits.expand(count, -1))
    assert set(found.unique().tolist()) == {0.0, 1.0}
    p = torch.sigmoid(logits)
    assert ((found.mean(0) - p).abs() < 3 * (p * (1 - p) / count).sqrt()).all()


def test_the_gradient_of_a_draw_is_that_of_the_soft_mask():
    logits = torch.zeros(4, requires_grad=True)
    torch.manual_seed(3)
    drawn(logits).sum().backward()
    torch.manual_seed(3)
    u = torch.rand(4)
    soft = torch.sigmoid(torch.log(u) - torch.log1p(-u))
    torch.testing.assert_close(logits.grad, soft * (1 - soft))


@pytest.mark.parametrize("structure", STRUCTURES)
def test_the_total_counts_every_position_once_and_none_of_the_first_token(structure):
    for special, expected in ((False, 49.0), (True, 36.0)):
        made = PositionMasks(1, 2, 7, structure, special)
        every = torch.ones_like(made.logits)
        assert made.total(every).item() == 2 * expected
        assert made.sparsity(every).tolist() == [0.0]
        none = made.sparsity(0 * every).item()
        assert none == pytest.approx(1 - (49 - expected) / 49)
        values = made.settled()
        assert made.sparsity(values).item() == pytest.approx(1 - made.over(values, 7).mean().item())


def test_a_mask_stays_where_its_logit_is_above_0_and_something_is_left_to_mask():
    made = PositionMasks(1, 1, 4, "structured", special=True)
    made.logits.data = torch.tensor([[[0.5, -0.5, 2.0, 3.0]]])
    assert made.settled().tolist() == [[[1, 0, 1, 0]]]  # a distance of 3 has the first token alone
