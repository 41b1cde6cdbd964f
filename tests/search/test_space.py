"""Combinations, and what they remove."""

from tests.learning import context
from tests.models import tiny
from trimformer.encoder.shape.kinds import stand_ins
from trimformer.search.sensitivity import Divergence, Sensitivity, sensitivity
from trimformer.search.space import Combination, gates_of, removable_shares, structures


def test_the_dense_model_comes_first_and_everything_is_there():
    found = structures(6, reads_first=True)
    assert found[0] == Combination(6, 6)
    assert found[0].removed(6) == "nothing"
    # With 6, 4 and 3 layers: all numbers of attention layers with a mean, and fewer than all with nothing.
    assert len(found) == len(set(found)) == (6 + 5) + (4 + 3) + (3 + 2)
    assert {(one.layers, one.attention) for one in found if one.stand_in == "mean"} == {
        *((6, 6), (6, 5), (6, 4), (6, 3), (6, 2), (6, 1)), *((4, 4), (4, 3), (4, 2), (4, 1), (3, 3), (3, 2), (3, 1)),
    }  # fmt: skip
    assert structures(6, reads_first=True, fitted=True) == [one for one in found if one.layers == 6]
    assert not any(one.stand_in == "none" for one in structures(6, reads_first=False))


def test_architectures_lose_only_what_they_can():
    every = {"heads": (1.0, 0.75, 0.5), "units": (1.0, 0.75, 0.5, 0.25), "width": (1.0, 0.75)}
    assert removable_shares(tiny(6).config, fitted=True) == every | {"width": (1.0,)}
    assert removable_shares(tiny(6).config) == every
    assert removable_shares(tiny(6, family="mpnet").config) == every
    assert removable_shares(tiny(6, family="albert").config) == every | {"heads": (1.0,), "units": (1.0,)}
    assert removable_shares(tiny(6, family="deberta-v2").config) == every | {"width": (1.0,)}


def test_what_matters_least_is_removed():
    found = Sensitivity(
        [0.5, 0.1, 0.9], [0.3, 0.9, 0.8], [[1.0, 2.0]] * 3, [[0.1, 0.4, 0.3, 0.2]] * 3, [3.0, 1.0, 2.0, 4.0]
    )
    gates = gates_of(Combination(3, 2, "mean", 0.5, 0.5), found)
    assert (gates.attention.tolist(), gates.removed, gates.layers) == ([1, 0, 1], "mean", None)
    assert [own.tolist() for own in gates.heads] == [[0, 1], [1, 1], [0, 1]]
    assert gates.ffn[0].tolist() == [0, 1, 1, 0]
    last = gates_of(Combination(3, 1, "none"), found)
    assert (last.attention.tolist(), last.removed) == ([1, 0, 0], "none")
    assert (last.heads, last.ffn, last.hidden) == (None, None, None)
    assert gates_of(Combination(3, 3, width=0.75), found).hidden.tolist() == [1, 0, 1, 1]


def test_layers_keep_more_of_what_matters_more() -> None:
    units = [[4.0, 4.0, 4.0, 4.0], [1.0, 2.0, 1.0, 1.0]]
    found = Sensitivity([1.0, 1.0], [1.0, 1.0], units, units, [1.0])
    gates = gates_of(Combination(2, 2, heads=0.5, units=0.5), found)
    # As one ranking the first keeps all and the second none, each for itself two.
    assert [own.tolist() for own in gates.ffn] == [own.tolist() for own in gates.heads] == [[1, 1, 1, 0], [0, 1, 0, 0]]
    assert gates_of(Combination(2, 1, heads=0.5), found).heads[1].tolist() == [1, 1, 1, 1]  # which has no attention


def test_layers_that_go_take_no_part() -> None:
    units = [[9.0] * 4, [1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 3.0, 4.0]]
    gates = gates_of(Combination(2, 2, units=0.5), Sensitivity([1.0] * 3, [0.0, 1.0, 1.0], units, units, [1.0]))
    assert [int(own.sum()) for own in gates.ffn[1:]] == [2, 2]


def test_many_units_stay_in_groups() -> None:
    scores = [[float(number) for number in range(start, start + 320)] for start in (0, 100)]
    found = Sensitivity([1.0, 1.0], [1.0, 1.0], [[1.0]] * 2, scores, [1.0])
    assert [int(own.sum()) for own in gates_of(Combination(2, 2, units=0.5), found).ffn] == [128, 192]


def test_attention_is_removed_from_layers_that_stay():
    found = Sensitivity([0.5, 0.1, 0.9], [0.3, 0.9, 0.8], [[1.0, 2.0]] * 3, [[0.1, 0.4]] * 3, [1.0])
    gates = gates_of(Combination(2, 1), found)
    assert (gates.layers.tolist(), gates.attention.tolist()) == ([0, 1, 1], [1, 0, 1])
    assert gates_of(Combination(2, 1, "none"), found).attention.tolist() == [1, 1, 0]


def test_names():
    assert Combination(6, 2, "mean", 0.5, 0.25, 0.75).name == "l6-a2-h50-f25-w75"
    assert len({Combination(3, 1, kind).name for kind in stand_ins()}) == len(stand_ins())
    assert Combination(3, 3, width=0.75).removed(3) == "25 % of the hidden dimensions"
    assert Combination(2, 1, "none", 0.5).removed(3) == (
        "1 of 3 layers, attention of 1 of 2 layers (none), 50 % of the heads"
    )


def test_the_first_layer_of_a_pre_norm_encoder_stays() -> None:
    stage = context(layers=3, family="modernbert")
    found = sensitivity(stage, 8, Divergence(stage, 8))
    assert all(gates_of(Combination(count, 1), found).layers[0] == 1 for count in (1, 2))
