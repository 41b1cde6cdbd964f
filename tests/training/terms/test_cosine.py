"""The cosine of the last hidden states, on numbers that are worked out by hand."""

import math
from types import SimpleNamespace

import pytest
import torch

from tests.models import tiny
from trimformer.training.matching import Layers
from trimformer.training.settings import ObjectiveSettings
from trimformer.training.terms.base import TERMS

BATCH = {"attention_mask": torch.tensor([[1, 1], [1, 0]])}


def passed(*last, layers):
    """What a pass over two texts of two tokens gives: other states first, then the last ones."""
    states = torch.tensor(last).view(2, 2, 2)
    return SimpleNamespace(hidden_states=(*[torch.full_like(states, -9.0)] * layers, states))


def distance(student, teacher):
    """Of a student with two layers from a teacher with three."""
    layers = Layers(tiny(2).config, tiny(3).config)
    term = TERMS["cosine"](ObjectiveSettings(cosine=1.0), layers)
    return term.loss("classification", BATCH, passed(*student, layers=2), passed(*teacher, layers=3)).item()


STUDENT = [1.0, 0.0], [3.0, 4.0], [0.0, 2.0], [5.0, 5.0]
TEACHER = [7.0, 0.0], [4.0, 3.0], [0.0, -1.0], [1.0, 0.0]


def test_it_is_one_minus_the_cosine_over_real_tokens():
    assert distance(STUDENT, TEACHER) == pytest.approx(((1 - 1) + (1 - 24 / 25) + (1 + 1)) / 3)
    assert distance(STUDENT, STUDENT) == pytest.approx(0, abs=1e-6)


def test_neither_length_nor_padding_counts():
    longer = [[100 * a, 100 * b] for a, b in TEACHER]
    longer[3] = [math.nan, 1e9]  # padding
    assert distance(STUDENT, longer) == pytest.approx(distance(STUDENT, TEACHER))
