"""Patterns of attention: each against its definition, whatever the length, and what is none."""

import pytest
import torch

from trimformer import LayerShape, TrimformerConfig, TrimformerError
from trimformer.encoder.parts.patterns.base import ByDistance, read, written
from trimformer.encoder.parts.patterns.learned import packed
from trimformer.encoder.shape.kinds import PATTERNS

CPU = torch.device("cpu")
EXAMPLES = [{"name": name} | own for name, kind in PATTERNS.items() for own in kind.examples]
every_example = pytest.mark.parametrize("settings", EXAMPLES, ids=lambda settings: settings["name"])

# Kept entries at 128 tokens, counted by hand-written conditions over all pairs in another program.
DEFINED = [
    ({"name": "no-diagonal"}, lambda i, j: i != j, 16256),
    ({"name": "strided", "stride": 11}, lambda i, j: abs(i - j) < 11 or (i - j) % 11 == 0, 3942),
    ({"name": "strided", "stride": 16}, lambda i, j: abs(i - j) < 16 or (i - j) % 16 == 0, 4624),
    ({"name": "fixed", "block": 11}, lambda i, j: i // 11 == j // 11 or j % 11 == 10, 2667),
    ({"name": "fixed", "block": 32}, lambda i, j: i // 32 == j // 32 or j % 32 == 31, 4480),
    ({"name": "fixed", "block": 8, "summary": 2}, lambda i, j: i // 8 == j // 8 or j % 8 >= 6, 4864),
    ({"name": "logsparse"}, lambda i, j: i == j or abs(i - j) in {2**power for power in range(8)}, 1666),
    ({"name": "longformer", "window": 12}, lambda i, j: abs(i - j) <= 6 or i == 0 or j == 0, 1864),
    ({"name": "window", "window": 2}, lambda i, j: abs(i - j) <= 1, 382),
    ({"name": "star"}, lambda i, j: abs(i - j) <= 1 or i == 0 or j == 0, 634),
    ({"name": "offsets", "offsets": [[0, 3, 7]]}, lambda i, j: abs(i - j) in (0, 3, 7), 128 + 2 * 125 + 2 * 121),
    ({"name": "spans", "spans": [3]}, lambda i, j: abs(i - j) <= 3, 128 + 2 * (127 + 126 + 125)),
    (
        {"name": "offsets", "offsets": [[4]], "special": True},
        lambda i, j: abs(i - j) == 4 or i == 0 or j == 0, 2 * 124 + 2 * 127 + 1 - 2,
    ),
]  # fmt: skip


def test_the_sparsity_is_the_mean_over_heads():
    pattern = read({"name": "offsets", "offsets": [[0], [0, 1]]})
    assert pattern.sparsity(10, 2) == pytest.approx(1 - (10 + 28) / 200)


@pytest.mark.parametrize(("settings", "kept", "count"), DEFINED, ids=[str(one)[:40] for one, *_ in DEFINED])
def test_a_pattern_keeps_what_its_definition_says(settings, kept, count):
    pattern = read(settings)
    expected = torch.tensor([[kept(i, j) for j in range(128)] for i in range(128)])
    found = pattern.allowed(128, 1, CPU)
    assert found.dtype == torch.bool
    assert torch.equal(found, expected[None])
    assert found.sum() == count
    assert pattern.sparsity(128, 1) == pytest.approx(1 - count / 128**2)


@every_example
def test_whether_a_pair_is_kept_does_not_depend_on_the_length(settings):
    pattern = read(settings)
    whole = pattern.allowed(200, 2, CPU)
    assert whole.shape in ((1, 200, 200), (2, 200, 200))
    for n in (1, 2, 7, 64):
        assert torch.equal(pattern.allowed(n, 2, CPU), whole[:, :n, :n])


@every_example
def test_what_a_pattern_is_made_of_holds(settings):
    pattern = read(settings)
    places = torch.arange(100)
    kept, distance = pattern.allowed(100, 2, CPU), (places[:, None] - places).abs()
    strip = (places < pattern.strips) | (places < pattern.strips)[:, None]
    assert kept[:, strip].all()
    if pattern.reach is not None:
        assert not kept[:, (distance > pattern.reach) & ~strip].any()
        assert kept[:, (distance == pattern.reach) & ~strip].any()
    if isinstance(pattern, ByDistance):
        assert torch.equal(pattern.keeps(distance) | strip, kept)
        assert torch.equal(kept, kept.transpose(1, 2))


@every_example
def test_settings_are_written_as_they_were_read(settings):
    pattern = read(settings)
    assert read(written(pattern)) == pattern
    assert hash(read(written(pattern))) == hash(pattern)
    assert settings.items() <= written(pattern).items()


def test_bigbird_links_each_token_with_earlier_ones_both_ways():
    pattern = read({"name": "bigbird", "window": 2, "random": 2, "first": 0})
    kept, places = pattern.allowed(100, 1, CPU)[0], torch.arange(100)
    linked = kept & ((places[:, None] - places).abs() > 1)
    assert torch.equal(linked, linked.T)
    before = linked.tril().sum(1)
    assert before.max() <= 2
    assert before[20:].double().mean() > 1.5  # few are drawn twice or lie within the window
    where = (linked.tril().nonzero().double() + 0.5).T
    assert 0.4 < (where[1] / where[0]).mean() < 0.6  # drawn evenly
    other = read({"name": "bigbird", "window": 2, "random": 2, "first": 0, "seed": 1})
    assert not torch.equal(other.allowed(100, 1, CPU)[0], kept)


def test_beyond_the_places_where_it_was_learned():
    torch.manual_seed(0)
    masks = torch.rand(2, 6, 6) < 0.5
    pattern = read({"name": "positions", "length": 6, "masks": [packed(mask) for mask in masks]})
    found = pattern.allowed(9, 2, CPU)
    assert torch.equal(found[:, :6, :6], masks)
    assert found[:, 6:].all()
    assert found[:, :, 6:].all()
    assert not read({"name": "offsets", "offsets": [[0, 2]]}).allowed(50, 1, CPU)[0, 0, 3:].any()


def test_heads_take_their_own_with_them():
    pattern = read({"name": "offsets", "offsets": [[0], [1], [2]]})
    assert written(pattern.of_heads([2, 0]))["offsets"] == [[2], [0]]
    masks = [packed(torch.full((3, 3), head)) for head in (True, False)]
    assert pattern.of_heads([0]) == read({"name": "offsets", "offsets": [[0]]})
    assert read({"name": "spans", "spans": [4, 0, 2]}).of_heads([2, 0]).spans == (2, 4)
    assert read({"name": "positions", "length": 3, "masks": masks}).of_heads([1]).masks == (masks[1],)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (None, "A pattern is a name with its settings, such as {name: window, window: 16}, got None"),
        ({"window": 3}, "A pattern is a name with its settings"),
        ({"name": "windw"}, "Unknown pattern of attention 'windw': did you mean 'window'"),
        ({"name": "window", "width": 3}, "The pattern 'window' has no setting 'width': it has window"),
        ({"name": "star", "window": 3}, "The pattern 'star' has no setting 'window': it has none"),
        ({"name": "window", "window": 0}, "'window' of the pattern 'window' is a whole number of at least 1, got 0"),
        ({"name": "window", "window": True}, "whole number of at least 1, got True"),
        ({"name": "strided", "stride": "4"}, "whole number of at least 1, got '4'"),
        ({"name": "bigbird", "seed": -1}, "'seed' of the pattern 'bigbird' is a whole number of at least 0, got -1"),
        ({"name": "offsets"}, "The pattern 'offsets' needs the setting 'offsets': add it"),
        ({"name": "offsets", "offsets": [[0]]}, "The layer has 2 heads, but its pattern has 1 lists of offsets"),
        ({"name": "offsets", "offsets": [[0], [2, 1]]}, "for each head a rising list of distances"),
        ({"name": "offsets", "offsets": [[0], [-1]]}, "for each head a rising list of distances"),
        ({"name": "offsets", "offsets": [0, 1]}, "for each head a rising list of distances"),
        ({"name": "offsets", "offsets": [[0], [1]], "special": 1}, "special as true or false"),
        ({"name": "spans", "spans": [3]}, "The layer has 2 heads, but its pattern has 1 spans: give one for each"),
        ({"name": "spans", "spans": [3, -1]}, "for each head a whole number of at least 0"),
        ({"name": "spans", "spans": [3, 1], "special": 1}, "special as true or false"),
        ({"name": "positions", "length": 0, "masks": []}, "needs a length of at least 1"),
        ({"name": "positions", "length": 3, "masks": ["%", "%"]}, "A mask of the pattern 'positions' is damaged"),
        ({"name": "positions", "length": 9, "masks": [packed(torch.ones(3, 3))] * 2}, "is not one of 9 places"),
        ({"name": "positions", "length": 3, "masks": [1, 2]}, "A mask of the pattern 'positions' is damaged"),
    ],
    ids=str,
)  # fmt: skip
def test_what_is_no_pattern_is_one_sentence(settings, said):
    with pytest.raises(TrimformerError) as error:
        LayerShape("sparse", 2, 8, 24, own={"pattern": settings})
    assert said in str(error.value)
    assert str(error.value)[-1] in ".?"


@pytest.mark.parametrize(
    "pattern", [{"name": "offsets", "offsets": [[0, 40], [1]]}, {"name": "spans", "spans": [40, 1]}]
)
def test_a_distance_beyond_the_maximum_length_is_refused(pattern):
    own = {"pattern": pattern}
    layers = [LayerShape("sparse", 2, 8, 24, own=own).to_dict()]
    with pytest.raises(TrimformerError, match="keeps the distance 40, but a text has at most 40 tokens"):
        TrimformerConfig(hidden_size=16, max_position_embeddings=40, layers=layers)
    TrimformerConfig(hidden_size=16, max_position_embeddings=41, layers=layers)
