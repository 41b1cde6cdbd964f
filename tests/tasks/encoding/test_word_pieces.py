"""Words and word pieces: tokenising, labels."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast
from transformers.models.bert.tokenization_bert_legacy import BertTokenizerLegacy

from tests.tasks.helpers import PIECES, sentences
from trimformer.tasks.encoding.word_pieces import labels_of, tokenise


def lists(arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    return {name: array.tolist() for name, array in arrays.items()}


def test_a_word_begins_at_its_first_piece(pieces: PreTrainedTokenizerFast) -> None:
    """no.so are three pieces of one word; the mask's name and unknown words are words too."""
    examples = sentences("unable so unably", "no.so [MASK] Ω no")
    arrays = tokenise(examples, pieces, 16)
    assert lists(arrays) == {
        "ids": [*[2, 5, 6, 9, 1, 3], *[2, 8, 10, 9, 4, 1, 8, 3]],
        "types": [0] * 14,
        "offsets": [0, 6, 14],
        "words": [*[-1, 0, -1, 1, 2, -1], *[-1, 0, -1, -1, 1, 2, 3, -1]],
        "truncated": 0,
    }
    assert {name: array.dtype.name for name, array in arrays.items() if name != "truncated"} == {
        "ids": "int32",
        "types": "uint8",
        "offsets": "int64",
        "words": "int32",
    }
    labels = labels_of(arrays["words"], arrays["offsets"], examples)
    assert labels.dtype == np.int64
    none = -100
    assert labels.tolist() == [*[none, 10, none, 11, 12, none], *[none, 20, none, none, 21, 22, 23, none]]


def test_words_without_pieces_shift_nothing(pieces: PreTrainedTokenizerFast) -> None:
    examples = sentences("\x07 so \x07 \x07 no", "\x07")
    arrays = tokenise(examples, pieces, 16)
    assert (arrays["words"].tolist(), int(arrays["truncated"])) == ([-1, 1, 4, -1, -1, -1], 0)
    assert labels_of(arrays["words"], arrays["offsets"], examples).tolist() == [-100, 11, 14, -100, -100, -100]


@pytest.mark.parametrize("side", ["left", "right"])
def test_long_sentences_lose_words_on_the_right(pieces: PreTrainedTokenizerFast, side: str) -> None:
    """A word that keeps its first piece is not lost."""
    pieces.truncation_side = side
    arrays = tokenise(sentences("no no no no no no", "so so so unable", "so so so so \x07"), pieces, 6)
    assert arrays["words"].tolist() == [-1, 0, 1, 2, 3, -1] * 3
    assert arrays["offsets"].tolist() == [0, 6, 12, 18]
    assert int(arrays["truncated"]) == 1
    assert pieces.truncation_side == side
    # The next call is as if nothing had been.
    assert len(pieces("no " * 9)["input_ids"]) == 11


def test_chunks_change_nothing(pieces: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch) -> None:
    examples = sentences("so no", "unable", "no . so", "so", "unably no")
    whole = lists(tokenise(examples, pieces, 4))
    monkeypatch.setattr("trimformer.tasks.encoding.chunks.ROWS", 2)
    assert lists(tokenise(examples, pieces, 4)) == whole


def test_no_types_if_the_tokenizer_makes_none(typeless_tokenizer: PreTrainedTokenizerFast) -> None:
    assert "types" not in tokenise(sentences("w1 w2"), typeless_tokenizer, 8)


@pytest.mark.parametrize("max_length", [16, 5])
def test_slow_tokenizer_gives_what_a_fast_one_gives(
    pieces: PreTrainedTokenizerFast, tmp_path: Path, max_length: int
) -> None:
    (tmp_path / "vocab.txt").write_text("\n".join(PIECES))
    slow = BertTokenizerLegacy(str(tmp_path / "vocab.txt"))
    slow.model_input_names = pieces.model_input_names
    examples = sentences("unable so unably", "no.so \x07 Ω no", "\x07")
    assert getattr(slow, "backend_tokenizer", None) is None
    assert lists(tokenise(examples, slow, max_length)) == lists(tokenise(examples, pieces, max_length))


@pytest.mark.parametrize("in_a_sequence", [False, True])
def test_byte_level_words_have_their_space(in_a_sequence: bool) -> None:
    """However the tokenizer is loaded, words are coded as within running text."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [("n", "o"), ("Ġ", "no")]
    vocabulary = {token: i for i, token in enumerate(["<pad>", *alphabet, *map("".join, merges)])}

    def tokenizer(prefix: bool) -> PreTrainedTokenizerFast:
        backend = Tokenizer(models.BPE(vocabulary, merges))
        level = pre_tokenizers.ByteLevel(add_prefix_space=prefix)
        backend.pre_tokenizer = pre_tokenizers.Sequence([level]) if in_a_sequence else level
        return PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="<pad>", model_input_names=["input_ids"])

    examples = sentences("no no", "é no")
    arrays = tokenise(examples, tokenizer(prefix=False), 8)
    assert lists(arrays) == lists(tokenise(examples, tokenizer(prefix=True), 8))
    assert arrays["words"].tolist() == [0, 1, 0, -1, -1, 1]
    assert arrays["ids"][:2].tolist() == [vocabulary["Ġno"]] * 2
