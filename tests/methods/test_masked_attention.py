"""What a removed attention position and a removed attention layer are (AttendOut, Eqs. 2 and 3)."""

import pytest
import torch
from torch.nn import functional as F

from tests.models import padded_batch, tiny
from trimformer import Gates
from trimformer.encoder.parts.attention.full import REMOVED_SCORE, replace_removed
from trimformer.encoder.parts.attention.mean import ExportedMean, MeanAttention
from trimformer.encoder.parts.exported import ExportedTokens
from trimformer.encoder.parts.positions.base import Mechanism
from trimformer.encoder.parts.tokens import Tokens
from trimformer.encoder.shape.gates import LayerGates


@pytest.fixture
def layer():
    """A full attention layer in fp64, its input with padding, and the mask."""
    model = tiny(layers=1).double()
    batch = padded_batch(model)
    torch.manual_seed(5)
    x = torch.randn(4, 9, 16, dtype=torch.double)
    return model.encoder.layers[0].attention, x, Tokens(x, batch["attention_mask"]), batch["attention_mask"]


def probabilities(scores, positions, mask):
    return replace_removed(scores, positions).masked_fill(~mask[:, None, None].bool(), -torch.inf).softmax(-1)


def test_adding_a_constant_to_a_row_removes_nothing():
    scores = torch.randn(3, 7, dtype=torch.double)
    torch.testing.assert_close((scores + REMOVED_SCORE).softmax(-1), scores.softmax(-1), atol=1e-10, rtol=0)


def test_replacing_a_whole_row_makes_it_uniform_over_real_tokens(layer):
    _, _, _, mask = layer
    scores = 10 * torch.randn(4, 2, 9, 9, dtype=torch.double)
    rows = probabilities(scores, torch.zeros(4, 1, 9, 9, dtype=torch.bool), mask)
    expected = (mask.double() / mask.sum(1, keepdim=True))[:, None, None].expand_as(rows)
    torch.testing.assert_close(rows, expected, atol=1e-15, rtol=0)


def test_padding_stays_strictly_lower_than_removed(layer):
    _, _, _, mask = layer
    scores = torch.randn(4, 2, 9, 9)
    for dtype in (torch.float32, torch.bfloat16):
        rows = probabilities(scores.to(dtype), torch.zeros(4, 1, 9, 9, dtype=torch.bool), mask)
        assert (rows.masked_select(~mask[:, None, None].bool().expand_as(rows)) == 0).all()
    # With one constant for both, a fully removed row would spread over padding too: the test above would fail.
    same = scores.masked_fill(torch.ones(4, 2, 9, 9, dtype=torch.bool), REMOVED_SCORE).softmax(-1)
    assert (same[1, :, :, -1] > 0).all()


def test_a_partly_removed_row_ignores_the_removed_keys(layer):
    _, _, _, mask = layer
    positions = torch.ones(4, 1, 9, 9, dtype=torch.bool)
    positions[..., 2] = False
    rows = probabilities(torch.randn(4, 2, 9, 9), positions, mask)
    assert (rows[..., 2] == 0).all()
    torch.testing.assert_close(rows.sum(-1), torch.ones(4, 2, 9))


def test_a_fully_removed_layer_gives_every_token_the_mean_of_the_values(layer):
    attention, x, mask, real = layer
    out = attention.mix(x, mask, LayerGates(positions=torch.zeros(4, 1, 9, 9, dtype=torch.bool)))
    values = attention.value(x)
    mean = torch.stack([values[b, : real[b].sum()].mean(0) for b in range(4)])
    torch.testing.assert_close(out, attention.output(mean)[:, None].expand_as(out), atol=1e-12, rtol=0)


def test_the_three_levels_of_a_removed_layer_agree(layer):
    attention, x, mask, real = layer
    level0 = attention.output(mask.mean_weights(x) @ attention.value(x))
    level1 = MeanAttention.instead_of(attention, x, mask, None)
    tokens = ExportedTokens(real.to(x.dtype), torch.arange(9)[None], real.long().sum(1), 9, Mechanism(tiny().config))
    level2 = ExportedMean(attention)(x, tokens)
    assert level1.shape == (4, 1, 16)  # one vector per sequence: no work per token
    torch.testing.assert_close(level1, level0, atol=1e-12, rtol=0)
    torch.testing.assert_close(level2.reshape(level1.shape), level1, atol=1e-12, rtol=0)


def test_a_removed_layer_knows_no_token_order_and_no_queries_and_keys(layer):
    attention, x, mask, real = layer
    none = LayerGates(positions=torch.zeros(4, 1, 9, 9, dtype=torch.bool))
    out = attention.mix(x, mask, none)
    order = torch.randperm(9)
    shuffled = attention.mix(x[:, order], Tokens(x, real[:, order]), none)
    torch.testing.assert_close(shuffled, out, atol=1e-12, rtol=0)
    out.square().sum().backward()
    for projection in (attention.query, attention.key):
        assert (projection.weight.grad == 0).all()
    assert (attention.value.weight.grad != 0).any()


def test_removing_a_key_for_all_queries_is_deleting_the_token_in_that_layer(layer):
    attention, x, mask, real = layer
    positions = torch.ones(4, 1, 9, 9, dtype=torch.bool)
    positions[..., 2] = False
    gated = attention.mix(x, mask, LayerGates(positions=positions))
    keep = [0, 1, 3, 4, 5, 6, 7, 8]
    query, key, value = (attention.split(f(x)) for f in (attention.query, attention.key, attention.value))
    context = F.scaled_dot_product_attention(
        query, key[:, :, keep], value[:, :, keep], real[:, None, None, keep].bool()
    )
    torch.testing.assert_close(gated, attention.output(context.transpose(1, 2).flatten(2)), atol=1e-12, rtol=0)


def test_soft_positions_at_their_ends_are_the_hard_ones():
    model = tiny().double()
    batch = padded_batch(model)
    hard = torch.rand(3, 4, 1, 9, 9) < 0.5
    with torch.no_grad():
        a = model(**batch, gates=Gates(positions=hard)).logits
        b = model(**batch, gates=Gates(positions=hard.double())).logits
    torch.testing.assert_close(a, b, atol=1e-12, rtol=0)
