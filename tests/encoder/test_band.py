"""A band that is computed by blocks is the masked attention over all pairs, and never makes the matrix of these."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from tests.models import padded_batch, tiny
from trimformer import LayerShape, TrimformerModel, cost, trim
from trimformer.deploy.onnx import random_inputs
from trimformer.encoder.model.exported import ExportedEncoder
from trimformer.encoder.parts import band as bands
from trimformer.encoder.parts.band import Band
from trimformer.encoder.parts.patterns.base import read

BANDS = [
    Band(0),
    Band(2),
    Band(7),
    Band(5, first=1),
    Band(1, first=9),
    Band(4, distances=((0, 1, 4), (2,))),
    Band(4, first=1, distances=((1, 4), ())),
]


def masked(band: Band, query: Any, key: Any, value: Any, keys: Any) -> Any:
    """The formula: all scores, of which those outside the band and of padding count for nothing."""
    heads, n = query.shape[1:3]
    allowed = torch.zeros(heads, n, n, dtype=torch.bool)
    for head in range(heads):
        for i in range(n):
            for j in range(n):
                kept = range(band.reach + 1) if band.distances is None else band.distances[head]
                allowed[head, i, j] = abs(i - j) in kept or min(i, j) < band.first
    real = allowed & keys[:, None, None]
    real = real | torch.eye(n, dtype=torch.bool) & ~real.any(-1, keepdim=True)
    scores = query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5
    return scores.masked_fill(~real, -torch.inf).softmax(-1) @ value


def some(n: int, dtype: torch.dtype) -> tuple[Any, ...]:
    torch.manual_seed(n)
    return tuple(torch.randn(3, 2, n, size, dtype=dtype, requires_grad=True) for size in (8, 8, 6))


@pytest.mark.parametrize("band", BANDS, ids=str)
@pytest.mark.parametrize("n", [1, 4, 9, 30])
@pytest.mark.parametrize("side", ["right", "left"])
def test_blocks_equal_the_masked_matrix_with_gradients(monkeypatch, band, n, side):
    monkeypatch.setattr(bands, "BLOCK", 4)
    keys = torch.arange(n) < torch.tensor([n, n // 2, 0])[:, None]  # the last text is padding alone
    keys = keys if side == "right" else keys.flip(1)
    for dtype, tolerance in ((torch.float64, 1e-10), (torch.float32, 1e-6)):
        given = some(n, dtype)
        found = band.attend(*given, band.allowed(keys), F.scaled_dot_product_attention)
        wanted = masked(band, *given, keys)
        torch.testing.assert_close(found, wanted, atol=tolerance, rtol=0)
        weight = torch.randn_like(wanted)
        pairs = zip(*(torch.autograd.grad((out * weight).sum(), given) for out in (found, wanted)), strict=True)
        for one, other in pairs:
            torch.testing.assert_close(one, other, atol=10 * tolerance, rtol=0)


def test_scores_are_as_many_as_counted():
    for band in BANDS:
        n = -(-band.long // band.block) * band.block
        query, key, value = (torch.randn(1, 2, n, 8) for _ in range(3))
        with FlopCounterMode(display=False) as counter:
            band.attend(query, key, value, band.allowed(torch.ones(1, n, dtype=torch.bool)), plain)
        assert counter.get_total_flops() == 2 * 2 * (8 + 8) * band.pairs(n)
        assert bands.SAVED * band.pairs(n) <= n * n


def plain(query: Any, key: Any, value: Any, allowed: Any) -> Any:
    scores = query @ key.transpose(-1, -2)
    return scores.masked_fill(~allowed, -torch.inf).softmax(-1) @ value


LONG = 200
"""Long for the window of the tests, of 4 tokens."""


def test_a_window_is_long_from_a_multiple_of_its_keys_on():
    assert Band(64).long == 480
    assert Band(2).long == 170 < LONG


@pytest.mark.parametrize("family", ["modernbert", "bert"])
def test_a_model_gives_the_same_by_blocks_and_by_masks(monkeypatch, family):
    model = windowed(family).double()
    batch = padded_batch(model, batch=3, n=LONG)
    batch["attention_mask"][1, 20:] = 0
    with torch.no_grad():
        found = model(**batch).logits
        longer = {name: F.pad(x, (0, 40)) for name, x in batch.items()}
        torch.testing.assert_close(model(**longer).logits, found, atol=1e-10, rtol=0)
        alone = model(**{name: x[1:2, :20] for name, x in batch.items()}).logits  # short: by masks
        torch.testing.assert_close(alone[0], found[1], atol=1e-10, rtol=0)
        torch.testing.assert_close(ExportedEncoder(model)(**batch), found, atol=1e-10, rtol=0)
        monkeypatch.setattr(Band, "long", 10**6)
        torch.testing.assert_close(model(**batch).logits, found, atol=1e-10, rtol=0)


def windowed(family: str) -> Any:
    """A layer with a window between two without, for texts of up to 400 tokens."""
    model = tiny(family=family, max_position_embeddings=400)
    windows = zip(model.config.shapes, (None, 4, None), strict=True)
    shapes = [dataclasses.replace(shape, window=window) for shape, window in windows]
    torch.manual_seed(0)
    return type(model)(model.config.with_shapes(shapes)).eval()


def test_where_positions_add_to_the_scores_there_are_no_blocks():
    for family in ("mpnet", "deberta-v2"):
        assert all(layer.attention.long_band is None for layer in windowed(family).encoder.layers)
    assert windowed("bert").encoder.layers[1].attention.long_band == Band(2)


PATTERNS = [
    {"name": "window", "window": 4},
    {"name": "longformer", "window": 6, "first": 2},
    {"name": "star"},
    {"name": "offsets", "offsets": [[0, 2], [0, 1, 5]], "special": True},
    {"name": "spans", "spans": [1, 4]},
]


@pytest.mark.parametrize("pattern", PATTERNS, ids=str)
def test_a_pattern_by_blocks_equals_its_mask(monkeypatch, pattern):
    """Of real tokens: padding far from all of them attends to itself by blocks, and to all of them by the mask."""
    model = trim(tiny(max_position_embeddings=400), attention={1: {"kind": "sparse", "pattern": pattern}}).eval()
    batch = padded_batch(model, 3, 300)
    real = batch["attention_mask"].bool()
    with torch.no_grad():
        by_blocks = model.encoder(**batch).last_hidden_state[real]
        monkeypatch.setattr(bands, "SAVED", 1000)
        masked = model.encoder(**batch).last_hidden_state[real]
    assert not torch.equal(by_blocks, masked)  # else blocks were not used
    torch.testing.assert_close(by_blocks, masked, atol=1e-5, rtol=0)


def test_patterns_in_which_a_token_may_not_see_itself_are_not_by_blocks():
    for own in ([[1], [0, 1]], [[], [0]]):
        assert read({"name": "offsets", "offsets": own}).band is None
    assert read({"name": "no-diagonal"}).band is None
    assert read({"name": "logsparse"}).band is None


@pytest.mark.parametrize("pattern", [None, PATTERNS[1], PATTERNS[3]], ids=str)
def test_the_operations_of_a_long_text_are_counted(pattern):
    model = windowed("bert").requires_grad_(False)
    if pattern is not None:
        model = trim(tiny(max_position_embeddings=400), attention={1: {"kind": "sparse", "pattern": pattern}}).eval()
    long = model.encoder.layers[1].attention.long_band.long
    for n in (20, long, 300):
        with (
            FlopCounterMode(display=False) as counter,
            torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH),
        ):
            model(torch.randint(4, 50, (1, n)), torch.ones(1, n, dtype=torch.long))
        counted = cost(model, n)
        assert counted.flops == counter.get_total_flops()
        full, near = counted.layers[0].flops, counted.layers[1].flops
        assert (near < full) == (n >= long)


class Largest(TorchDispatchMode):
    """The elements of the largest tensor that was made."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        made = [x for x in tree_leaves(out) if isinstance(x, torch.Tensor)]
        self.count = max(self.count, *(x.untyped_storage().nbytes() // x.element_size() for x in made), 0)
        return out


def test_memory_is_linear_in_the_tokens():
    shape = LayerShape("full", 2, 8, 24, window=8)
    model = TrimformerModel(tiny(max_position_embeddings=4096).config.with_shapes([shape] * 2)).eval()
    counts = []
    for n in (1024, 4096):
        with Largest() as largest, torch.no_grad():
            model(**random_inputs(model.config, 2, n, padded=True))
        counts.append(largest.count)
    assert counts[1] < 4.1 * counts[0]
    assert counts[1] < 4096**2 / 10
