"""Token elimination: which tokens a layer hands on, what they keep, what it costs, and what cannot have it."""

import copy
import dataclasses

import pytest
import torch

from tests.models import DISTINCT_FAMILIES, padded_batch, tiny, with_tokens
from trimformer import Gates, LayerShape, TrimformerConfig, TrimformerError, cost, trim
from trimformer.encoder.checkpoints.load import with_labels
from trimformer.encoder.model.exported import ExportedEncoder
from trimformer.encoder.model.heads import head_class
from trimformer.encoder.parts.elimination import choose, counts, factors, handed_on, significance, valued
from trimformer.encoder.parts.tokens import Tokens
from trimformer.encoder.shape.gates import LayerGates
from trimformer.measure.cost import expected_flops
from trimformer.measure.device.pieces import latency_tables
from trimformer.training.objective import terms_of
from trimformer.training.settings import ObjectiveSettings


def by_hand(weights, real):
    """The significance, query by query."""
    found = torch.zeros(weights.shape[0], weights.shape[-1], dtype=weights.dtype)
    for text, head, query, key in torch.cartesian_prod(*map(torch.arange, weights.shape)).tolist():
        if query != key and real[text, query]:
            found[text, key] += weights[text, head, query, key]
    return found


def test_significance_counts_neither_the_own_look_nor_padding():
    torch.manual_seed(0)
    weights = torch.rand(3, 2, 5, 5).double()
    real = torch.arange(5) < torch.tensor([[5], [3], [1]])
    torch.testing.assert_close(significance(weights, real), by_hand(weights, real))


@pytest.mark.parametrize(
    ("values", "count", "expected"),
    [
        ([0.1, 0.5, 0.2, 0.9, 0.3], 3, [0, 1, 3]),  # the first token and the best, in their order
        ([0.9, 0.1, 0.1, 0.1, 0.1], 3, [0, 1, 2]),  # of equal ones the first
        ([0.0, 0.2, 0.7, 0.2, 0.2], 3, [0, 1, 2]),
        ([0.0, 0.2, 0.2, 0.7, 0.2], 5, [0, 1, 2, 3, 4]),
        ([0.0, 0.2, 0.2, 0.7, 0.2], 1, [0]),
    ],
)
def test_the_first_token_and_those_that_count_most_in_their_order(values, count, expected):
    real = torch.ones(1, 5, dtype=torch.bool)
    chosen = choose(valued(torch.tensor([values]), real), torch.tensor([count]), count + 2)
    assert chosen.places[0][chosen.kept[0]].tolist() == expected


def test_padding_is_never_chosen_and_rows_keep_different_counts():
    real = torch.arange(6) < torch.tensor([[6], [2]])
    values = valued(torch.tensor([[0.0, 1, 2, 3, 4, 5], [0.0, 0, 9, 9, 9, 9]]), real)
    chosen = choose(values, torch.tensor([3, 2]), 3)
    assert [row[kept].tolist() for row, kept in zip(*chosen, strict=True)] == [[0, 4, 5], [0, 1]]
    x = torch.randn(2, 6, 4)
    picked = chosen.of(x)
    assert torch.equal(picked[0], x[0, [0, 4, 5]])
    assert torch.equal(picked[1, :2], x[1, :2])
    assert torch.equal(chosen.of_rows(x.reshape(12, 4), 6).reshape(2, 3, 4), picked)


def test_counts_are_numbers_or_shares_of_the_text():
    lengths = torch.tensor([1, 3, 10, 100])
    assert counts(4, lengths).tolist() == [1, 3, 4, 4]
    assert counts(0.29, lengths).tolist() == [1, 1, 2, 29]  # 0.29 * 100 is less than 29 in floating point
    assert handed_on([0.5, None, 0.8, 3], 10) == [(10, 5), (5, 5), (5, 5), (5, 3)]


@pytest.mark.parametrize("family", DISTINCT_FAMILIES)
def test_what_is_left_stays_where_it_was_in_the_text(family):
    """As if tokens that are not handed on were padding from there on: positions are those of the text."""
    shapes = [dataclasses.replace(shape, window=None) for shape in tiny(family=family).config.shapes]
    model = tiny(family=family, layers=3)
    model = type(model)(model.config.with_shapes(shapes)).double().eval()
    fewer = with_tokens(model, 0.7, 4)
    batch = padded_batch(model)
    mask, body = batch["attention_mask"], fewer.encoder
    with torch.no_grad():
        x = body.embeddings(batch["input_ids"], batch["token_type_ids"])
        for layer, whole, kept in zip(body.layers, model.encoder.layers, (0.7, 4, None), strict=True):
            y, _ = whole(x, Tokens(x, mask, body.positions))
            if kept is not None:
                weights = weights_of(layer.attention, attended(layer, x), mask, body.positions)
                count = torch.minimum(counts(kept, batch["attention_mask"].sum(1)), mask.sum(1))
                mask = mask_of(by_hand(weights, mask.bool()), mask, count)
            x = y
        hidden = body.norm(x)[:, :1]
        expected = fewer.head(hidden, batch["attention_mask"])
        torch.testing.assert_close(fewer(**batch).logits, expected, atol=1e-10, rtol=0)
        assert (fewer(**batch).logits - model(**batch).logits).abs().max() > 1e-3


def attended(layer, x):
    """What the attention of a layer reads."""
    return layer.attention_norm(x) if layer.kind == "pre-norm" else x


def weights_of(attention, x, mask, positions):
    """The attention weights of a layer, (batch, heads, n, n)."""
    read = attention.inputs(x)
    query, key = attention.split(attention.query(read)), attention.split(attention.key(read))
    query, key, bias = Tokens(x, mask, positions).place(attention, query, key)
    scores = query @ key.transpose(-1, -2) * attention.scale + (0 if bias is None else bias)
    return scores.masked_fill(mask[:, None, None] == 0, -torch.inf).softmax(-1)


def mask_of(found, mask, count):
    """1 for the first token and the best others of each row."""
    left = torch.zeros_like(mask)
    for row in range(len(mask)):
        real = [place for place in range(1, mask.shape[1]) if mask[row, place]]
        best = sorted(real, key=lambda place: (-found[row, place], place))[: count[row] - 1]
        left[row, [0, *best]] = 1
    return left


@pytest.mark.parametrize("family", DISTINCT_FAMILIES)
def test_as_many_as_there_are_is_the_model_itself(family):
    model = tiny(family=family).double()
    batch = padded_batch(model)
    fewer = with_tokens(model, 9, 40)
    with torch.no_grad():
        torch.testing.assert_close(fewer(**batch).logits, model(**batch).logits, atol=1e-10, rtol=0)
    assert with_tokens(model, 1.0).config.shapes == model.config.shapes


def test_the_first_token_is_never_lost_and_the_batch_shrinks():
    model = with_tokens(tiny(), 0.7, 1)
    batch = padded_batch(model)
    with torch.no_grad():
        states = model.encoder(**batch, output_hidden_states=True).hidden_states
        assert [len(state[0]) for state in states] == [9, 6, 1, 1]  # ⌊0.7 · 9⌋ of the longest
        without = model(batch["input_ids"]).logits  # no mask: all are real
        assert torch.equal(without[0], model(batch["input_ids"], torch.ones(4, 9, dtype=torch.long)).logits[0])


def test_a_text_of_padding_alone_gives_numbers():
    model = with_tokens(tiny(), 0.5, 3)
    batch = padded_batch(model)
    batch["attention_mask"][1] = 0
    with torch.no_grad():
        assert torch.isfinite(model(**batch).logits).all()
        assert torch.isfinite(ExportedEncoder(copy.deepcopy(model))(**batch)).all()


def test_where_every_position_is_removed_nothing_is_ranked():
    """Trim makes a mean of such a layer, which hands on all tokens."""
    model = with_tokens(tiny().double(), 0.7, 4)
    batch = padded_batch(model)
    positions = [torch.zeros(4, 1, 9, 9, dtype=torch.bool), torch.ones(4, 1, 9, 9, dtype=torch.bool), None]
    trimmed = trim(model, Gates(positions=positions))
    assert [(shape.attention, shape.tokens) for shape in trimmed.config.shapes[:2]] == [("mean", None), ("full", 4)]
    with torch.no_grad():
        expected = model(**batch, gates=Gates(positions=positions)).logits
        torch.testing.assert_close(trimmed(**batch).logits, expected, atol=1e-10, rtol=0)


def test_gates_on_pairs_are_those_of_the_tokens_that_are_left():
    model = with_tokens(tiny().double(), 4)
    batch = padded_batch(model)
    with torch.no_grad():
        kept = model.encoder(**batch, output_trace=True)
        positions = [None, torch.ones(4, 1, 9, 9, dtype=torch.bool), None]
        positions[1][:, :, :, 5:] = False
        changed = model(**batch, gates=Gates(positions=positions)).logits
    assert kept.trace[1].key.shape[2] == 4
    assert (changed - model(**batch).logits).abs().max() > 1e-6


def test_layers_that_stay_keep_their_counts():
    model = with_tokens(tiny(4), 0.8, 5, 3)
    without = trim(model, Gates(layers=torch.tensor([1.0, 0, 1, 1])))
    assert [shape.tokens for shape in without.config.shapes] == [0.8, 3, None]
    mean = trim(model, attention={1: "mean"})
    assert [shape.tokens for shape in mean.config.shapes] == [0.8, None, 3, None]
    assert trim(model, attention={1: "sparse-star"}).config.shapes[1].tokens == 5


def test_operations_are_those_of_the_tokens_that_are_there():
    """Attention of layer l at what layer l - 1 hands on, its feed-forward block at what it hands on itself."""
    n, d, f = 12, 16, 24
    counted = cost(with_tokens(tiny(), 0.5, 4).encoder, n)

    def layer(given, left):
        return 8 * given * d * d + 4 * given**2 * d + 4 * left * d * f

    assert [one.flops for one in counted.layers] == [layer(12, 6), layer(6, 4), layer(4, 4)]
    config = with_tokens(tiny(), 0.5, 4).config
    assert expected_flops(config, n, Gates()).item() == sum(one.flops for one in counted.layers)
    soft = Gates(tokens=[torch.full((8,), 0.5, requires_grad=True), torch.full((20,), 1 / 3), None])
    expected = expected_flops(tiny().config, n, soft)
    assert expected.item() == pytest.approx(sum(one.flops for one in counted.layers))
    expected.backward()
    assert (soft.tokens[0].grad > 0).all()


def test_factors_are_read_by_rank_and_as_shares():
    torch.manual_seed(0)
    by_rank = torch.rand(6).double()
    values = torch.tensor([[9.0, 1, 5, 3, 2, 4], [9.0, 2, 1, -1, -1, -1]]).double()
    found = factors(by_rank, values, torch.tensor([6, 3]))
    torch.testing.assert_close(found[0], by_rank[[0, 5, 1, 3, 4, 2]])
    pairs = by_rank.reshape(3, 2).mean(1)  # a third of a text reads a third of the factors
    torch.testing.assert_close(found[1], torch.cat([pairs, torch.ones(3).double()]))
    uneven = factors(by_rank, values[:, :4], torch.tensor([4, 4]))
    assert uneven.sum(1).tolist() == pytest.approx([4 * by_rank.mean().item()] * 2)


def test_soft_extraction_stands_between_attention_and_the_feed_forward_block():
    model = tiny(2).double()
    batch = padded_batch(model)
    layer, body = model.encoder.layers[0], model.encoder
    by_rank = torch.linspace(1, 0, 9).double().requires_grad_()
    x = body.embeddings(batch["input_ids"], batch["token_type_ids"])
    tokens = Tokens(x, batch["attention_mask"], body.positions)
    found, left = layer(x, tokens, LayerGates(tokens=by_rank))
    assert left.ranking is None
    y = layer.attention_norm(x + layer.attention(x, tokens))
    weights = weights_of(layer.attention, x, batch["attention_mask"], body.positions)
    real = batch["attention_mask"].bool()
    scaled = y * factors(by_rank, valued(by_hand(weights, real), real), real.sum(1))[..., None]
    torch.testing.assert_close(found, layer.ffn_norm(scaled + layer.feed_forward(scaled, None)))
    found[real].sum().backward()
    assert torch.isfinite(by_rank.grad).all()
    with torch.no_grad():
        ones = Gates(tokens=[torch.ones(5).double(), None])
        torch.testing.assert_close(model(**batch, gates=ones).logits, model(**batch).logits, atol=1e-10, rtol=0)


@pytest.mark.parametrize("tokens", [0, -1, 0.0, 1.5, True, "4", 1e-9])
def test_what_is_no_number_of_tokens_is_refused(tokens):
    with pytest.raises(TrimformerError, match="A layer hands on a number of tokens"):
        LayerShape("full", 2, 8, 24, tokens=tokens)


@pytest.mark.parametrize("kind", ["mean", "bias", "none"])
def test_a_layer_that_does_not_attend_cannot_rank(kind):
    with pytest.raises(TrimformerError, match="does not attend, so that nothing tells which tokens count"):
        LayerShape(kind, 2, 8, 24, tokens=4)


@pytest.mark.parametrize("kind", ["tokens", "spans", "masked-lm", "embedding"])
def test_heads_that_read_all_tokens_are_refused(kind):
    config = with_tokens(tiny(), 4).config
    config = config if kind == "masked-lm" else with_labels(config, ("a", "b") if kind == "tokens" else (), kind)
    with pytest.raises(TrimformerError, match="need a head that reads the first token alone"):
        head_class(kind)(config)
    mean = TrimformerConfig.from_dict(with_tokens(tiny(), 4).config.to_dict() | {"classifier_pooling": "mean"})
    with pytest.raises(TrimformerError, match="need a head that reads the first token alone"):
        head_class("classification")(mean)


def test_what_takes_all_tokens_says_so():
    model = with_tokens(tiny(), 4)
    with pytest.raises(TrimformerError, match="Layer 0 hands on fewer tokens than it is given, which a table"):
        latency_tables(model, backends=["torch"], length=[8])
    with pytest.raises(TrimformerError, match="export it with the head that reads the first one"):
        ExportedEncoder(model.encoder)
    with pytest.raises(TrimformerError, match="'hidden' of the objective compares all tokens"):
        terms_of(ObjectiveSettings(hidden=1.0), model.config, tiny().config)
    terms_of(ObjectiveSettings(logits=1.0, embeddings=1.0), model.config, tiny().config)
    with pytest.raises(TrimformerError, match="Factors of tokens by rank cannot be trimmed"):
        trim(tiny(), Gates(tokens=[torch.ones(3)] * 3))
