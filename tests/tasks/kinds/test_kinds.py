"""What every kind must say of itself, so that those who look it up need not know its name."""

from typing import get_args

import pytest

from trimformer.encoder.model.heads import Kind, head_class
from trimformer.errors import TrimformerError
from trimformer.tasks.kinds import KINDS
from trimformer.tasks.settings import TaskSettings


def test_every_kind_of_a_head_is_there() -> None:
    assert list(KINDS) == list(get_args(Kind))
    assert [KINDS[name].name for name in KINDS] == list(KINDS)


@pytest.mark.parametrize("name", KINDS)
def test_kinds_read_settings_that_exist_and_agree_with_their_heads(name: Kind) -> None:
    kind = KINDS[name]
    assert set(kind.reads) <= set(TaskSettings.model_fields)
    assert kind.per_token == (not head_class(name).for_texts)


def test_rows_to_predict() -> None:
    assert KINDS["tokens"].examples(["never  again", ["a", "b c"]]).texts == [("never", "again"), ("a", "b c")]
    found = KINDS["spans"].examples([("who", "I am")])
    assert (found.texts, found.pairs) == (["who"], ["I am"])
    with pytest.raises(TrimformerError, match="This model answers questions: give a question and a context"):
        KINDS["spans"].examples([("who", "I am"), "who"])
    assert KINDS["multilabel"].examples(["a", "b"]).texts == ["a", "b"]
