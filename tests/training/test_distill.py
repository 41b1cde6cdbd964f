"""The distances, each against its formula written out."""

import math

import pytest
import torch

from trimformer.encoder.parts.trace import AttentionTrace
from trimformer.training.distill import attention_loss, hidden_loss, logit_loss, relation_loss, self_relation

MASK = torch.tensor([[1, 1, 1], [1, 1, 0]])
LENGTHS = (3, 2)


def trace(seed, heads=2, size=4, bias=None, window=None):
    torch.manual_seed(seed)
    query, key, value = torch.randn(3, 2, heads, 3, size).unbind()
    return AttentionTrace(query, key, value, size**-0.5, bias, window)


def softmax(row):
    total = sum(math.exp(x) for x in row)
    return [math.exp(x) / total for x in row]


def divergence(teacher, student):
    """KL(teacher ‖ student) of the softmax of two rows of numbers."""
    pairs = zip(softmax(teacher), softmax(student), strict=True)
    return sum(p * math.log(p / q) for p, q in pairs)


def mean(values):
    values = list(values)
    return sum(values) / len(values)


def dot(a, b):
    return sum(x * y for x, y in zip(a.tolist(), b.tolist(), strict=True))


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


@pytest.mark.parametrize("window", [None, 2])
def test_the_attention_relation_is_the_divergence_of_the_attention_distributions(window):
    student, teacher = trace(0, size=2, window=window), trace(1, window=window)

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


def test_padding_has_no_part_in_scores_and_relations():
    student, teacher = trace(0), trace(1)
    terms = ["attention", "query", "key", "value"]
    before = attention_loss([student], [teacher], MASK), relation_loss(student, teacher, MASK, terms, 4)
    for x in (teacher.query, teacher.key, teacher.value, student.key):
        x[1, :, 2] = 1e4
    assert attention_loss([student], [teacher], MASK) == before[0]
    assert relation_loss(student, teacher, MASK, terms, 4) == before[1]
