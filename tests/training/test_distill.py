"""The distances, each against its formula written out."""

import math

import pytest
import torch

from trimformer.training.distill import hidden_loss, logit_loss


def test_logit_loss_is_the_softened_divergence_times_temperature_squared():
    student, teacher = torch.tensor([[0.0, 0.0]]), torch.tensor([[2.0, 0.0]])
    mask = torch.ones(1, 1)
    p = 1 / (1 + math.exp(-1))  # softmax of (2, 0) / 2
    expected = 4 * (p * math.log(p / 0.5) + (1 - p) * math.log((1 - p) / 0.5))
    assert logit_loss("classification", student, teacher, mask, 2.0).item() == pytest.approx(expected, abs=1e-6)
    assert logit_loss("regression", student, teacher, mask, 2.0).item() == pytest.approx(2.0)


def test_hidden_loss_is_blind_to_padding():
    mask = torch.tensor([[1, 1, 0], [1, 0, 0]])
    a, b = torch.randn(2, 3, 4), torch.randn(2, 3, 4)
    expected = torch.stack([(a - b)[0, 0], (a - b)[0, 1], (a - b)[1, 0]]).square().mean()
    torch.testing.assert_close(hidden_loss([a], [b], mask), expected)
    torch.testing.assert_close(hidden_loss([a, b], [b, b], mask), expected / 2)
    b[0, 2] = 1e9
    torch.testing.assert_close(hidden_loss([a], [b], mask), expected)
