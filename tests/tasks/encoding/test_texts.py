from __future__ import annotations

import numpy as np
import pytest
from transformers import ByT5Tokenizer, PreTrainedTokenizerFast

from trimformer.tasks.data import Examples
from trimformer.tasks.encoding.texts import tokenise
from trimformer.tasks.settings import Truncation

from .conftest import Words

SIDES: list[tuple[Truncation, str]] = [("head", "right"), ("tail", "left")]


def words(*numbers: int) -> str:
    return " ".join(f"w{i}" for i in numbers)


def rows(arrays: dict[str, np.ndarray], name: str = "ids") -> list[list[int]]:
    return [row.tolist() for row in np.split(arrays[name], arrays["offsets"][1:-1])]


TEXTS = Examples([words(*range(n)) for n in range(1, 20)], None, [0] * 19)
PAIRS = Examples(
    [words(*range(n)) for n in range(1, 13) for _ in range(1, 13)],
    [words(*range(19, 19 - n, -1)) for _ in range(1, 13) for n in range(1, 13)],
    [0] * 144,
)


@pytest.mark.parametrize(("truncation", "side"), SIDES)
@pytest.mark.parametrize("examples", [TEXTS, PAIRS], ids=["texts", "pairs"])
@pytest.mark.parametrize("max_length", [9, 12])
@pytest.mark.parametrize("name", ["tokenizer", "roberta"])
def test_head_and_tail_are_the_tokenizers_own(
    request: pytest.FixtureRequest, name: str, examples: Examples, max_length: int, truncation: Truncation, side: str
) -> None:
    """Every length of a text, and every pair of lengths."""
    tokenizer = request.getfixturevalue(name)
    arrays = tokenise(examples, tokenizer, max_length, truncation)
    tokenizer.truncation_side = side
    want = tokenizer(examples.texts, examples.pairs, truncation="longest_first", max_length=max_length)
    assert rows(arrays) == want["input_ids"]
    assert ("types" in arrays) == ("token_type_ids" in want) == (name == "tokenizer")
    if "types" in arrays:
        assert rows(arrays, "types") == want["token_type_ids"]
    complete = tokenizer(examples.texts, examples.pairs)["input_ids"]
    assert arrays["truncated"] == sum(len(row) > max_length for row in complete) > 0
    assert (arrays["ids"].dtype, arrays["offsets"].dtype) == (np.int32, np.int64)


def test_both_keeps_a_quarter_of_the_head(tokenizer: PreTrainedTokenizerFast) -> None:
    text = words(*range(20))
    arrays = tokenise(Examples([text, "w1"], None, [0, 0]), tokenizer, 10, "both")
    assert tokenizer.convert_ids_to_tokens(rows(arrays)[0]) == f"[CLS] {words(0, 1, *range(14, 20))} [SEP]".split()
    assert (rows(arrays)[1], arrays["truncated"]) == ([2, 5, 3], 1)
    pair = rows(tokenise(Examples([text], ["w7 w8"], [0]), tokenizer, 13, "both"))[0]
    kept = f"[CLS] {words(0, 1, *range(14, 20))} [SEP] w7 w8 [SEP]"
    assert tokenizer.convert_ids_to_tokens(pair) == kept.split()
    long = " ".join(f"w{i % 20}" for i in range(1000))
    paper = rows(tokenise(Examples([long], None, [0]), tokenizer, 512, "both"))[0]
    whole = tokenizer(long)["input_ids"]
    assert paper == whole[:129] + whole[-383:]  # 128 and 382, and the special tokens


@pytest.mark.parametrize("truncation", ["head", "tail", "both"])
@pytest.mark.parametrize("examples", [TEXTS, PAIRS], ids=["texts", "pairs"])
def test_slow_gives_what_fast_gives(
    tokenizer: PreTrainedTokenizerFast, slow: Words, examples: Examples, truncation: Truncation
) -> None:
    want = tokenise(examples, tokenizer, 9, truncation)
    got = tokenise(examples, slow, 9, truncation)
    assert got.keys() == want.keys()
    for name, array in want.items():
        np.testing.assert_array_equal(got[name], array)


def test_bytes() -> None:
    """A tokenizer that exists in no fast form, with one special token."""
    arrays = tokenise(Examples(["abcdefghijkl", "ab"], None, [0, 0]), ByT5Tokenizer(), 9, "both")
    assert ByT5Tokenizer().convert_ids_to_tokens(rows(arrays)[0]) == [*"abghijkl", "</s>"]
    assert arrays["truncated"] == 1


def test_settings_in_the_tokenizers_file_do_not_matter(tokenizer: PreTrainedTokenizerFast) -> None:
    """tokenizer.json may hold a truncation and a padding of its own, as all-MiniLM's does."""
    want = rows(tokenise(TEXTS, tokenizer, 9, "tail"))
    tokenizer.backend_tokenizer.enable_truncation(5)
    tokenizer.backend_tokenizer.enable_padding(length=30)
    assert rows(tokenise(TEXTS, tokenizer, 9, "tail")) == want


def test_chunks_are_put_together(tokenizer: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch) -> None:
    want = rows(tokenise(PAIRS, tokenizer, 9, "both"))
    monkeypatch.setattr("trimformer.tasks.encoding.chunks.ROWS", 7)
    assert rows(tokenise(PAIRS, tokenizer, 9, "both")) == want
