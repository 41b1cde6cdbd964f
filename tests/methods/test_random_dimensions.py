"""Dimensions that are drawn: as many as are asked for, the same for a seed, and handed on."""

import pytest
import torch

from tests.learning import context, make_method
from tests.models import padded_batch, tiny
from trimformer import TrimformerError, trim
from trimformer.methods.architecture.random_dimensions import RandomDimensions, counts
from trimformer.methods.architecture.spaces import sizes_of
from trimformer.methods.handed import gates_in

COUNTS = {"inputs": [3, 16, 1], "query_key": [2, 8, 5], "values": [8, 4, 1], "ffn": [24, 0, 7], "heads": [1, 2, 2]}


def test_as_many_stay_as_are_asked_for_and_the_seed_says_which():
    made = make_method("random-dimensions", context(), stay=COUNTS)
    gates = made.decide().given
    for space, wanted in COUNTS.items():
        assert [int(own.sum()) // (2 if own.ndim == 2 else 1) for own in gates[space]] == wanted
    assert all(torch.equal(own[0], own[1]) for space in ("query_key", "values") for own in gates[space])
    assert repr(make_method("random-dimensions", context(), stay=COUNTS).decide()) == repr(made.decide())
    other = make_method("random-dimensions", context(seed=1), stay=COUNTS).decide().given
    assert any(not torch.equal(*pair) for pair in zip(gates["inputs"], other["inputs"], strict=True))
    assert made.notes()[0].endswith("drawn at random, first layer first: 3 of 16, 16 of 16, 1 of 16.")


@pytest.mark.parametrize("space", list(COUNTS))
def test_of_a_small_share_one_stays_in_each_layer_that_has_any(space):
    config = trim(tiny(), attention={1: "none"}).config
    settings = RandomDimensions.Settings(stay={space: 0.01})
    assert counts(settings, space, config) == [(min(1, size), size) for size in sizes_of(space, config)]
    left = RandomDimensions.after(settings, config)
    assert [shape.attention for shape in left.shapes] == ["full", "none", "full"]
    assert all(shape.ffn for shape in left.shapes)


def test_what_is_left_computes_what_the_gates_gave_and_another_model_can_be_cut_alike():
    made = make_method("random-dimensions", context(), stay={"inputs": 0.5, "ffn": 0.25})
    batch = padded_batch(made.model)
    result = made.result()
    with torch.no_grad():
        wanted = made.model.eval()(**batch, gates=made.decide()).logits
        torch.testing.assert_close(result.model.eval()(**batch).logits, wanted, atol=1e-6, rtol=0)
    assert [len(shape.reads) for shape in result.model.config.shapes] == [8] * 3
    assert {shape.ffn for shape in result.model.config.shapes} == {6}
    handed = gates_in(result.handed).given
    assert all(torch.equal(*pair) for pair in zip(handed["ffn"], made.decide().given["ffn"], strict=True))


@pytest.mark.parametrize(
    ("stay", "family", "said"),
    [
        ({"inputs": [3, 4]}, "bert", "the layers have 16, 16, 16 inputs, of which 3, 4 cannot stay: give a number"),
        ({"ffn": [3, 4, 25]}, "bert", "the layers have 24, 24, 24 ffn, of which 3, 4, 25 cannot stay"),
        ({"inputs": 0.5}, "deberta-v2", r"cannot lose input dimensions.*leave inputs out of stay"),
    ],
    ids=str,
)
def test_what_cannot_be_drawn_is_refused(stay, family, said):
    with pytest.raises(TrimformerError, match=said):
        make_method("random-dimensions", context(family=family), stay=stay)
