"""The distance of attention scores, against its formula written out."""

import math

import pytest
import torch

from tests.training.terms.formulas import LENGTHS, MASK, divergence, dot, mean, trace
from trimformer.encoder.parts.patterns.base import read
from trimformer.training.terms.attention import attention_loss, distribution_loss


@pytest.mark.parametrize("window", [None, 2])
def test_attention_loss_is_the_squared_error_of_the_scores(window):
    bias = torch.full((1, 2, 3, 3), 0.25)
    student, teacher = trace(0, size=2), trace(1, bias=bias, window=window)

    def score(t, text, head, i, j):
        added = 0.0 if t.bias is None else 0.25
        return dot(t.query[text, head, i], t.key[text, head, j]) / math.sqrt(t.query.shape[-1]) + added

    expected = mean(
        (score(student, text, head, i, j) - score(teacher, text, head, i, j)) ** 2
        for text, n in enumerate(LENGTHS)
        for head in range(2)
        for i in range(n)
        for j in range(n)
        if window is None or abs(i - j) <= 1
    )
    assert attention_loss([student], [teacher], MASK).item() == pytest.approx(expected, rel=1e-5)
    both = attention_loss([student, teacher], [teacher, teacher], MASK)
    assert both.item() == pytest.approx(expected / 2, rel=1e-5)
    assert attention_loss([], [], MASK).item() == 0


def test_only_pairs_that_both_layers_attend_to_count():
    pattern = read({"name": "offsets", "offsets": [[1], []]})
    for student, teacher in ((trace(0, pattern=pattern), trace(1)), (trace(0), trace(1, pattern=pattern))):
        expected = mean(
            (student.scores[text, 0, i, j].item() - teacher.scores[text, 0, i, j].item()) ** 2
            for text, n in enumerate(LENGTHS)
            for i in range(n)
            for j in range(n)
            if abs(i - j) == 1
        )
        assert attention_loss([student], [teacher], MASK).item() == pytest.approx(expected, rel=1e-5)
    nothing = trace(0, pattern=read({"name": "offsets", "offsets": [[], []]}))
    assert attention_loss([nothing], [trace(1)], MASK).item() == 0


def test_padding_has_no_part_in_scores():
    student, teacher = trace(0), trace(1)
    before = attention_loss([student], [teacher], MASK)
    for x in (teacher.query, teacher.key, teacher.value, student.key):
        x[1, :, 2] = 1e4
    assert attention_loss([student], [teacher], MASK) == before


@pytest.mark.parametrize("window", [None, 2])
def test_the_distance_of_the_distributions_is_their_divergence(window):
    student, teacher = trace(0, size=2), trace(1, window=window)
    expected = mean(
        divergence(*([t.scores[text, head, i, j].item() for j in keys] for t in (teacher, student)))
        for text, n in enumerate(LENGTHS)
        for head in range(2)
        for i in range(n)
        for keys in [[j for j in range(n) if window is None or abs(i - j) <= 1]]
    )
    assert expected > 0.01
    assert distribution_loss([student], [teacher], MASK).item() == pytest.approx(expected, rel=1e-5)
    both = distribution_loss([student, teacher], [teacher, teacher], MASK)
    assert both.item() == pytest.approx(expected / 2, rel=1e-5)
    assert distribution_loss([], [], MASK).item() == 0
    student.key[1, :, 2] = 1e4  # padding has no part in it
    assert distribution_loss([student], [teacher], MASK).item() == pytest.approx(expected, rel=1e-5)
