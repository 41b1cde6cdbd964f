"""What a body may hold."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from trimformer.inference.serve.question import Limits, Question, Refused, rows_of


@pytest.mark.parametrize("body", [b'{"texts": [1, 1]}', b'{"texts": [[1, 1]]}', b'{"texts": [], "pairs": [1, 1]}'])
def test_reading_ends_at_the_first_mistake(body: bytes) -> None:
    found = []
    for tail in (b"", b", 1" * 100):
        with pytest.raises(ValidationError) as caught:
            Question.model_validate_json(body.replace(b", 1]", b", 1" + tail + b"]"))
        found.append(caught.value.error_count())
    assert found[0] == found[1]


def test_words_count_as_one_sentence() -> None:
    limits = Limits(characters=5)
    assert rows_of(b'{"texts": [["ab", "cd"]]}', "tokens", limits) == [["ab", "cd"]]
    with pytest.raises(Refused, match="has 6 characters: send at most 5"):
        rows_of(b'{"texts": [["", "", "", "", "", "", ""]]}', "tokens", limits)
