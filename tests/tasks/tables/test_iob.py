import itertools
import re
from pathlib import Path

import pytest

from trimformer.errors import TrimformerError
from trimformer.tasks.tables.iob import Scheme, to_iob2
from trimformer.tasks.tables.tagged import Tagged, Word


def tagged(*sentences: str) -> Tagged:
    """Sentences from their tags, one word a line."""
    line = itertools.count(1)
    words = [[Word("w", tag, next(line)) for tag in tags.split()] for tags in sentences]
    return Tagged(Path("file"), words)


def tags(result: Tagged) -> list[str]:
    return [" ".join(word.tag for word in sentence) for sentence in result.sentences]


def test_iob1_becomes_iob2() -> None:
    # After O, type change, adjacent spans of one type, the start of a sentence.
    have = tagged("I-PER I-PER O I-LOC", "I-LOC I-ORG I-ORG B-ORG I-ORG", "I-ORG", "O", "I-A-B I-A-B B-A-B")
    want = ["B-PER I-PER O B-LOC", "B-LOC B-ORG I-ORG B-ORG I-ORG", "B-ORG", "O", "B-A-B I-A-B B-A-B"]
    assert tags(to_iob2(have, "iob1")) == want


def test_iob2_stays() -> None:
    same = ["B-PER I-PER O B-LOC", "B-ORG B-ORG I-ORG"]
    assert tags(to_iob2(tagged(*same), "iob2")) == same


@pytest.mark.parametrize(
    ("sentences", "scheme", "message"),
    [
        (["O", "O B-PER"], "iob1", "line 3 of file, 'B-PER' does not follow a word in a span of type PER"),
        (["I-PER", "B-PER"], "iob1", "line 2 of file, 'B-PER' does not follow"),
        (["I-PER B-LOC"], "iob1", "in IOB1: set task.scheme: iob2 if the file is tagged so"),
        (["O I-PER"], "iob2", "line 2 of file, 'I-PER' does not follow a word in a span of type PER"),
        (["B-PER", "I-PER"], "iob2", "line 2 of file, 'I-PER' does not follow"),
        (["B-PER I-LOC"], "iob2", "in IOB2: set task.scheme: iob1 if the file is tagged so"),
        (["B-PER NN"], "iob2", "line 2 of file, the tag 'NN' is not O, B-type or I-type, as IOB2 has it"),
        (["B-"], "iob1", "line 1 of file, the tag 'B-' is not O"),
        (["I-PER E-PER"], "iob1", "line 2 of file, the tag 'E-PER' is not O"),
    ],
)
def test_tags_that_the_scheme_does_not_have(sentences: list[str], scheme: Scheme, message: str) -> None:
    with pytest.raises(TrimformerError, match=re.escape(message)):
        to_iob2(tagged(*sentences), scheme)
