"""The augmentations, each against what its paper says."""

from collections import Counter

import pytest

from tests.tasks.augmentation.readers import reader, rows
from trimformer import TrimformerError
from trimformer.tasks.augmentation import AUGMENTATIONS
from trimformer.tasks.augmentation.masking import Masking, MaskingSettings
from trimformer.tasks.augmentation.replacement import Replacement, ReplacementSettings


def replaced(examples, **settings):
    return list(Replacement(ReplacementSettings(**settings), reader()).make(examples))


def masked(examples, **settings):
    return list(Masking(MaskingSettings(**settings), reader()).make(examples))


def test_each_content_word_is_replaced_with_the_probability_by_one_of_its_candidates():
    made = replaced(rows("the film was not good"), copies=2000, candidates=2)
    films = Counter(new.fields[0].split()[1] for new in made)
    assert films.keys() == {"film", "movie", "picture"}
    assert {tuple(new.fields[0].split()[i] for i in (0, 2, 3)) for new in made} == {("the", "was", "not")}
    # Copies in which neither of the two words is replaced are no new rows: 0.4 / (1 - 0.6 * 0.6) of the others.
    assert films["movie"] + films["picture"] == pytest.approx(0.625 * len(made), rel=0.08)
    assert films["movie"] == pytest.approx(films["picture"], rel=0.15)
    assert len(made) == pytest.approx(0.64 * 2000, rel=0.05)
    assert all(
        len(new.replaced) == (new.fields[0].split()[1] != "film") + ("good" not in new.fields[0]) for new in made
    )


def test_of_a_pair_each_text_is_changed_while_the_other_one_is_as_it_was():
    made = replaced(rows("the film", pairs=["good"]), copies=3, probability=1)
    assert [new.fields[1] for new in made[:3]] == ["good"] * 3
    assert [new.fields[0] for new in made[3:]] == ["the film"] * 3
    assert all(new.fields[0] != "the film" for new in made[:3])
    assert all(new.fields[1] != "good" for new in made[3:])


def test_the_published_settings_are_the_defaults():
    settings = ReplacementSettings()
    assert (settings.probability, settings.copies, settings.candidates) == (0.4, 20, 15)
    tang = MaskingSettings()
    assert (tang.mask, tang.ngram, tang.longest, tang.copies) == (0.1, 0.25, 5, 20)


def test_words_are_masked_and_texts_cut_with_their_probabilities():
    text = "the film was good , the movie not dull : a fine picture"
    made = masked(rows(text), copies=4000)
    whole = [new for new in made if len(new.fields[0].split()) == len(text.split())]
    assert len(whole) / len(made) == pytest.approx(0.75, abs=0.03)
    assert sum(len(new.replaced) for new in whole) / (12 * len(whole)) == pytest.approx(0.1, abs=0.01)
    cut = [new.fields[0].replace(" , ", " ").replace(" : ", " ").split() for new in made if new not in whole]
    assert {len(words) for words in cut} == {1, 2, 3, 4, 5}
    assert all(new.fields[0].count("[MASK]") == len(new.replaced) for new in made)
    for new in masked(rows(text), copies=50, mask=0, ngram=1):
        assert new.fields[0] in text


def test_of_a_pair_the_first_the_second_and_both_are_masked_in_turn():
    made = masked(rows("film", pairs=["good"]), copies=4, mask=1, ngram=0)
    assert [new.fields for new in made] == [
        ("[MASK]", "good"), ("film", "[MASK]"), ("[MASK]", "[MASK]"), ("[MASK]", "good"),
    ]  # fmt: skip


def test_masking_needs_a_mask_token():
    Masking.check(MaskingSettings(), reader().tokenizer)
    Masking.check(MaskingSettings(mask=0), reader(mask=None).tokenizer)
    with pytest.raises(TrimformerError, match="the tokenizer has no mask token"):
        Masking.check(MaskingSettings(), reader(mask=None).tokenizer)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_the_same_seed_makes_the_same_rows_and_another_one_others(name: str):
    way = AUGMENTATIONS[name]
    examples = rows("the film was good", "a dull picture , not a movie", "", "!")

    def made(seed: int):
        return list(way(way.Settings(seed=seed), reader()).make(examples))

    assert made(0) == made(0)
    assert made(0) != made(1)
    assert {new.row for new in made(0)} >= {0, 1}
