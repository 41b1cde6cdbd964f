"""Masks: 15 %, of which 80 % are masks, 10 % other tokens and 10 % what stood there."""

import numpy as np
import pytest

from tests.tasks.plain_text.plain import masking_tokenizer
from tests.tinymodel import words_tokenizer
from trimformer import TrimformerError
from trimformer.tasks.plain_text.masking import Masking, masking_of

SPECIAL = np.arange(100) < 5
MASKING = Masking(0.15, 4, SPECIAL, np.arange(5, 100))
ROW = np.array([2, *range(10, 90), 3], dtype=np.int32)


def test_shares():
    places, kinds = [], []
    for seed in range(300):
        rng = np.random.default_rng(seed)
        found = MASKING.places(ROW, rng)
        assert len(found) == 12  # 15 % of 80
        masked = MASKING.masked(ROW, found, rng)
        others = np.setdiff1d(np.arange(len(ROW)), found)
        assert np.array_equal(masked[others], ROW[others])
        kinds += np.where(masked[found] == 4, 0, np.where(masked[found] == ROW[found], 2, 1)).tolist()
        places += found.tolist()
    assert np.bincount(kinds) / len(kinds) == pytest.approx([0.8, 0.1, 0.1], abs=0.02)
    assert (min(places), max(places)) == (1, 80)


def test_a_short_row_has_one_and_a_row_of_special_tokens_none():
    rng = np.random.default_rng(0)
    assert MASKING.places(np.array([2, 7, 3]), rng).tolist() == [1]
    assert MASKING.places(np.array([2, 3]), rng).tolist() == []
    assert Masking(0.0, 4, SPECIAL, np.arange(5, 100)).places(ROW, rng).tolist() == []


def test_whole_words():
    goes_on = np.arange(100) % 3 != 0
    masking = Masking(0.15, 4, SPECIAL, np.arange(5, 100), goes_on)
    for seed in range(50):
        found = masking.places(ROW, np.random.default_rng(seed)).tolist()
        words = {tuple(range(at, at + 3)) for at in found if ROW[at] % 3 == 0}
        inside = {at for word in words for at in word if at < 81}
        assert set(found) <= inside | {1, 2}  # a row may begin within a word
        assert 1 <= len(found) <= 12


def test_the_tokenizer_says_what_is_masked():
    tokenizer = masking_tokenizer()
    masking = masking_of(tokenizer, 30, 0.15, whole_words=False)
    assert masking.mask_id == tokenizer.mask_token_id
    assert not set(masking.others.tolist()) & set(tokenizer.all_special_ids)
    with pytest.raises(TrimformerError, match="no mask token"):
        masking_of(words_tokenizer(), 30, 0.15, whole_words=False)
    with pytest.raises(TrimformerError, match="does not show which of its tokens begin a word"):
        masking_of(tokenizer, 30, 0.15, whole_words=True)
