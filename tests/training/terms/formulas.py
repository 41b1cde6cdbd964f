"""What formulas of several terms are written out with, in plain numbers; and a trace to write them out for."""

import math

import torch

from trimformer.encoder.parts.trace import AttentionTrace

MASK = torch.tensor([[1, 1, 1], [1, 1, 0]])
LENGTHS = (3, 2)


def trace(seed, heads=2, size=4, bias=None, window=None, pattern=None):
    torch.manual_seed(seed)
    query, key, value = torch.randn(3, 2, heads, 3, size).unbind()
    return AttentionTrace(query, key, value, size**-0.5, bias, window, pattern)


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
