"""Texts as words: what can be replaced, and that all else stays."""

import pytest

from trimformer.tasks.augmentation.words import Words, cased_like


def test_words_are_replaced_in_their_places_and_all_else_stays():
    text = Words('The film, "so-called", was n\'t  good...')
    assert [text[i] for i in range(len(text))] == ["The", "film", "so", "called", "was", "n't", "good"]
    assert text.replaced({6: "bad", 1: "plot"}) == 'The plot, "so-called", was n\'t  bad...'
    assert text.replaced({}) == text.text
    assert text.part(1, 3) == 'film, "so-called'


def test_stop_words_and_what_is_not_letters_alone_are_left_out():
    text = Words("It is not 3D, isn't it, THE Café of 1999?")
    assert [text[i] for i in text.content] == ["Café"]


@pytest.mark.parametrize(
    ("model", "cased"), [("good", "fine"), ("Good", "Fine"), ("GOOD", "FINE"), ("A", "Fine"), ("iPod", "fine")]
)
def test_a_new_word_has_the_capitals_of_the_old_one(model: str, cased: str):
    assert cased_like("fine", model) == cased
