"""The divergence of relations, against its formula written out."""

import math

import pytest
import torch

from tests.training.terms.formulas import LENGTHS, MASK, divergence, dot, mean, trace
from trimformer.encoder.parts.patterns.base import read
from trimformer.training.terms.relations import relation_loss, self_relation


@pytest.mark.parametrize(("window", "pattern"), [(None, None), (2, None), (2, read({"name": "window", "window": 2}))])
def test_the_attention_relation_is_the_divergence_of_the_attention_distributions(window, pattern):
    given = window if pattern is None else None
    student, teacher = trace(0, size=2, window=given, pattern=pattern), trace(1, window=given)

    def row(t, text, head, i):
        keys = [j for j in range(LENGTHS[text]) if window is None or abs(i - j) <= 1]
        return [dot(t.query[text, head, i], t.key[text, head, j]) / math.sqrt(t.query.shape[-1]) for j in keys]

    expected = mean(
        divergence(row(teacher, text, head, i), row(student, text, head, i))
        for text, n in enumerate(LENGTHS)
        for head in range(2)
        for i in range(n)
    )
    loss = relation_loss(student, teacher, MASK, ["attention"], heads=99)  # the layer's own heads, whatever is asked
    assert loss.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("part", ["query", "key", "value"])
@pytest.mark.parametrize("heads", [2, 4])
def test_a_relation_is_the_divergence_over_relation_heads(part, heads):
    student, teacher = trace(0, heads=3, size=4), trace(1, heads=2, size=4)  # 12 and 8 wide

    def row(t, text, head, i):
        whole = getattr(t, part)[text].transpose(0, 1).reshape(3, -1)  # (n, width)
        size = whole.shape[1] // heads
        own = whole[:, head * size : (head + 1) * size]
        return [dot(own[i], own[j]) / math.sqrt(size) for j in range(LENGTHS[text])]

    expected = mean(
        divergence(row(teacher, text, head, i), row(student, text, head, i))
        for text, n in enumerate(LENGTHS)
        for head in range(heads)
        for i in range(n)
    )
    assert relation_loss(student, teacher, MASK, [part], heads).item() == pytest.approx(expected, rel=1e-5)


def test_the_relations_are_summed():
    student, teacher = trace(0), trace(1)
    terms = ["attention", "query", "key", "value"]
    alone = [relation_loss(student, teacher, MASK, [term], 4) for term in terms]
    torch.testing.assert_close(relation_loss(student, teacher, MASK, terms, 4), torch.stack(alone).sum())
    assert len({round(value.item(), 6) for value in alone}) == 4


def test_with_its_own_heads_a_value_relation_is_that_of_minilm():
    own = trace(0)
    expected = own.value @ own.value.transpose(-1, -2) / math.sqrt(4)
    torch.testing.assert_close(self_relation(own.value, 2), expected)


def test_padding_has_no_part_in_relations():
    student, teacher = trace(0), trace(1)
    terms = ["attention", "query", "key", "value"]
    before = relation_loss(student, teacher, MASK, terms, 4)
    for x in (teacher.query, teacher.key, teacher.value, student.key):
        x[1, :, 2] = 1e4
    assert relation_loss(student, teacher, MASK, terms, 4) == before
