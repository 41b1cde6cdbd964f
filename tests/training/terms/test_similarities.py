"""The divergence of similarities in a batch, on numbers that are worked out by hand."""

import math

import pytest
import torch

from trimformer.training.terms.similarities import similarity_loss

TEACHER = torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 0.0]])


def divergence(wanted, found):
    return sum(p * math.log(p / q) for p, q in zip(wanted, found, strict=True))


def test_it_is_the_divergence_over_the_other_texts():
    student = torch.tensor([[5.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    near = math.e**2 / (1 + math.e**2)  # a cosine of 1 beside one of 0, at a temperature of one half
    rows = [
        divergence([1 - near, near], [near, 1 - near]),
        divergence([0.5, 0.5], [near, 1 - near]),
        divergence([near, 1 - near], [0.5, 0.5]),
    ]
    assert similarity_loss(student, TEACHER, 0.5).item() == pytest.approx(sum(rows) / 3)


def test_only_directions_count_and_sizes_may_differ():
    assert similarity_loss(7 * TEACHER, TEACHER, 0.05).item() == pytest.approx(0, abs=1e-6)
    wider = torch.cat([TEACHER, torch.zeros(3, 4)], 1)
    assert similarity_loss(wider, TEACHER, 0.05).item() == pytest.approx(0, abs=1e-6)


def test_two_texts_say_nothing():
    student = torch.randn(2, 3, requires_grad=True)
    similarity_loss(student, TEACHER[:2], 0.05).backward()
    assert student.grad.abs().max() == 0
