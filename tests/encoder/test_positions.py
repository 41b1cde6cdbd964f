"""The mechanisms by which positions enter attention, each against a formula of its own or the stock function."""

import math

import pytest
import torch
from torch.nn import functional as F
from transformers.models.deberta_v2.modeling_deberta_v2 import make_log_bucket_position
from transformers.models.modernbert.modeling_modernbert import apply_rotary_pos_emb
from transformers.models.mpnet.modeling_mpnet import MPNetEncoder

from tests.models import padded_batch, tiny
from trimformer import trim
from trimformer.encoder.parts.attention.base import with_heads
from trimformer.encoder.parts.positions.base import Mechanism
from trimformer.encoder.parts.positions.disentangled import deberta_buckets
from trimformer.encoder.parts.positions.relative_bias import t5_buckets
from trimformer.encoder.parts.positions.rotary import Rotary, rotate
from trimformer.encoder.parts.tokens import Tokens, near

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
    cos, sin = (given[0, 0] for given in Rotary.angles(torch.arange(11)[None], 100.0, 8))
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
    allowed = Tokens(x, mask).mask(query, query, None, window)
    assert allowed.expand(1, 1, 9, 9).any(-1).all()
    assert not allowed.expand(1, 1, 9, 9)[..., :2, 2:].any()


@pytest.mark.parametrize(("family", "masks"), [("bert", 1), ("mpnet", 1), ("modernbert", 2), ("deberta-v2", 3)])
def test_what_layers_share_is_made_once_for_a_forward_pass(family, masks, monkeypatch):
    model = tiny(family=family)
    prepared, seen = [], []
    prepare = model.encoder.positions.prepare
    monkeypatch.setattr(model.encoder.positions, "prepare", lambda x: prepared.append(x) or prepare(x))
    attend = F.scaled_dot_product_attention
    record = lambda *args, **others: seen.append(args[3]) or attend(*args, **others)  # noqa: E731
    monkeypatch.setattr(F, "scaled_dot_product_attention", record)
    model.encoder(**padded_batch(model))
    assert len(seen) == 3
    assert len({id(mask) for mask in seen}) == masks
    assert len(prepared) == 1
    if family == "bert":
        assert seen[0].shape == (4, 1, 1, 9)  # the padding and nothing more


@pytest.mark.parametrize("family", ["mpnet", "modernbert", "deberta-v2"])
def test_what_positions_weigh_goes_with_the_layers_that_attend(family):
    model = tiny(family=family, relative_shares_weights=False)
    some = trim(model, attention={1: "mean"}).encoder
    assert not [name for name in some.layers[1].state_dict() if "relative" in name]
    assert {n for n in some.state_dict() if n.startswith("positions.")} == {
        n for n in model.encoder.state_dict() if n.startswith("positions.")
    }
    none = trim(model, attention={0: "mean", 1: "mean", 2: "mean"}).encoder
    assert not [name for name in none.state_dict() if "positions." in name or "relative" in name]
    assert type(none.positions) is Mechanism


def test_layers_of_a_shared_bias_can_have_different_numbers_of_heads():
    model = tiny(family="mpnet")
    shapes = [with_heads(shape, heads) for shape, heads in zip(model.config.shapes, (1, 2, 1), strict=True)]
    other = type(model)(model.config.with_shapes(shapes)).eval()
    assert other.encoder.positions.table.weight.shape[1] == 2
    assert other(**padded_batch(model)).logits.shape == (4, 3)
