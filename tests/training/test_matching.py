"""Which layers are compared, and what is refused."""

import pytest

from tests.models import tiny
from trimformer import TrimformerError, trim
from trimformer.encoder.shape.config import LayerShape
from trimformer.training.objective import terms_of
from trimformer.training.settings import ObjectiveSettings

ALL = {"hidden": 1.0, "attention": 1.0, "relations": 1.0}


def match(student, teacher, **settings):
    """The terms that are on, by name."""
    return {term.name: term for term in terms_of(ObjectiveSettings(**settings), student, teacher)}


def pairs(student, teacher, **settings):
    return {name: tuple(term.pairs) for name, term in match(student, teacher, **settings).items()}


def with_heads(*heads, size=8):
    return tiny(len(heads)).config.with_shapes([LayerShape("full", count, size, 24) for count in heads])


@pytest.mark.parametrize(
    ("student", "teacher", "layers"),
    [(4, 12, [2, 5, 8, 11]), (6, 12, [1, 3, 5, 7, 9, 11]), (3, 3, [0, 1, 2]), (5, 12, [1, 3, 6, 8, 11])],
)
def test_layers_are_evenly_spread(student, teacher, layers):
    assert pairs(tiny(student).config, tiny(teacher).config, hidden=1.0)["hidden"] == tuple(enumerate(layers))


def test_a_map_says_which_layer_teaches_which():
    found = pairs(tiny(2).config, tiny(3).config, layer_map=[0, 1], **ALL)
    assert found["hidden"] == found["attention"] == ((0, 0), (1, 1))
    assert found["relations"] == ((1, 1),)


def test_layers_without_scores_of_their_own_are_skipped():
    student = trim(tiny(4), attention={0: "mean", 3: "none"}).config
    found = pairs(student, tiny(4).config, **ALL)
    assert found["hidden"] == ((0, 0), (1, 1), (2, 2), (3, 3))
    assert found["attention"] == ((1, 1), (2, 2))
    assert found["relations"] == ((2, 2),)


def test_scores_need_equally_many_heads_and_relations_do_not():
    student, teacher = with_heads(2, 2, 1), with_heads(2, 2, 2)
    found = pairs(student, teacher, **ALL)
    assert found["attention"] == ((0, 0), (1, 1))
    assert found["relations"] == ((2, 2),)
    assert match(student, teacher, **ALL)["relations"].heads == 2
    minilm = {"relations": 1.0, "relation_terms": ["attention", "value"]}
    assert pairs(student, teacher, **minilm)["relations"] == ((1, 1),)


def test_a_term_that_is_off_compares_nothing():
    assert set(match(tiny(2).config, tiny(3).config, attention=1.0, layer_map=[0, 2])) == {"task", "attention"}
    found = pairs(tiny(4).config, tiny(3).config, logits=1.0)
    assert found == {"task": (), "logits": ()}  # a deeper student, where no layer is asked


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"hidden": 1.0, "layer_map": [0, 3]}, "names the layer 3 of the teacher, whose layers are numbered 0 to 2"),
        ({"hidden": 1.0, "layer_map": [0]}, "1 entries, but the student has 2 layers"),
        ({"relations": 1.0, "relation_heads": 5}, "student's query is 16 wide, which 5 relation"),
    ],
)
def test_bad_settings_are_refused(settings, sentence):
    with pytest.raises(TrimformerError, match=sentence):
        match(tiny(2).config, tiny(3).config, **settings)


@pytest.mark.parametrize("term", ["attention", "relations"])
def test_a_term_with_nothing_to_compare_is_refused(term):
    student = trim(tiny(), attention={0: "mean", 1: "conv", 2: "none"}).config
    with pytest.raises(TrimformerError, match=f"term '{term}' of the objective has nothing to compare"):
        match(student, tiny().config, **{term: 1.0})


def test_a_deeper_student_needs_a_map():
    with pytest.raises(TrimformerError, match="say in layer_map"):
        match(tiny(4).config, tiny(3).config, hidden=1.0)
    assert pairs(tiny(4).config, tiny(3).config, hidden=1.0, layer_map=[0, 0, 1, 2])["hidden"][1] == (1, 0)
