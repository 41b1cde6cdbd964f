"""The mechanisms by which positions enter attention, each against a formula of its own or the stock function."""

import math

import pytest
import torch
from transformers.models.deberta_v2.modeling_deberta_v2 import make_log_bucket_position
from transformers.models.modernbert.modeling_modernbert import apply_rotary_pos_emb
from transformers.models.mpnet.modeling_mpnet import MPNetEncoder

from trimformer.encoder.modeling import Shared, near
from trimformer.encoder.positions import Rotary, deberta_buckets, rotate, t5_buckets

DISTANCES = torch.arange(-600, 601)


@pytest.mark.parametrize("buckets", [8, 32, 64])
def test_t5_buckets_are_the_stock_ones(buckets):
    expected = MPNetEncoder.relative_position_bucket(DISTANCES, num_buckets=buckets, max_distance=128)
    assert torch.equal(t5_buckets(DISTANCES, buckets, 128), expected)


@pytest.mark.parametrize(("buckets", "span"), [(8, 20), (256, 512), (7, 40), (32, 600)])
def test_deberta_buckets_are_the_stock_ones(buckets, span):
    expected = make_log_bucket_position(DISTANCES, buckets, span).long()
    assert torch.equal(deberta_buckets(DISTANCES, buckets, span), expected)


def test_rotary_angles_and_turns():
    x = torch.randn(2, 3, 11, 8)
    cos, sin = Rotary.angles(x[:, 0], 100.0, 8)
    assert cos[5, 2] == cos[5, 6] == pytest.approx(math.cos(5 / 100 ** (4 / 8)), abs=1e-6)
    turned = rotate(x, cos, sin)
    torch.testing.assert_close(turned, apply_rotary_pos_emb(x, x, cos[None], sin[None])[0])
    torch.testing.assert_close(turned.norm(dim=-1), x.norm(dim=-1))
    # The product of a turned query and a turned key depends on their distance only.
    same = x[:, :, :1].expand_as(x)
    scores = rotate(same, cos, sin) @ rotate(same, cos, sin).transpose(-1, -2)
    torch.testing.assert_close(scores.diagonal(2, -2, -1), scores[..., 0, 2, None].expand(-1, -1, 9))


def test_a_window_reaches_half_its_size_to_both_sides():
    inside = near(7, 4, torch.device("cpu"))
    assert inside[3].tolist() == [False, True, True, True, True, True, False]
    assert inside[0].tolist() == [True, True, True, False, False, False, False]


@pytest.mark.parametrize("window", [None, 2])
def test_padding_far_from_all_real_tokens_gives_numbers(window):
    x, mask = torch.randn(1, 9, 4), torch.tensor([[1, 1, 0, 0, 0, 0, 0, 0, 0]])
    query = torch.randn(1, 1, 9, 4)
    allowed = Shared(x, mask).mask(query, None, window)
    assert allowed.expand(1, 1, 9, 9).any(-1).all()
    assert not allowed.expand(1, 1, 9, 9)[..., :2, 2:].any()
