"""From logits to probabilities, in float64."""

from __future__ import annotations

import numpy as np


def softmax(logits: np.ndarray) -> np.ndarray:
    """Over the labels of each row: (n, labels) -> (n, labels)."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: np.ndarray = powers / powers.sum(axis=1, keepdims=True)
    return shares


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Of each number alone. Only powers below 1 are taken: others overflow."""
    power = np.exp(-np.abs(logits))
    found: np.ndarray = np.where(logits >= 0, 1.0, power) / (1.0 + power)
    return found
