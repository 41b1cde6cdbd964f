"""Rows of one group are held out together and drawn together, whatever kind they are of."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from trimformer.errors import TrimformerError
from trimformer.tasks.data import Examples, Task
from trimformer.tasks.encoding.encoded import Encoded
from trimformer.tasks.kinds import KINDS
from trimformer.tasks.outcome import outcome
from trimformer.tasks.settings import TaskSettings
from trimformer.tasks.task import load_task, load_validation

Write = Callable[[str, str], Path]


def by_author(rows: int, authors: int, name: str = "author") -> str:
    lines = (f"text {i},{'ab'[i % 2]},{name} {i % authors}\n" for i in range(rows))
    return "text,label,who\n" + "".join(lines)


def test_no_group_is_in_two_parts(write: Write) -> None:
    settings = TaskSettings(data=str(write("all.csv", by_author(120, 30))), group="who")
    data = load_task(settings)
    parts = [set(part.groups or []) for part in (data.train, data.selection, data.validation)]
    assert all(parts)
    assert sum(map(len, parts)) == len(set.union(*parts)) == 30
    assert (len(data.validation), len(data.selection)) == (16, 16)  # of 18 and of 16 rows, by fours
    assert data.task.source.endswith("training rows in 30 groups; validation: 16 of its rows, split off")
    assert load_validation(settings)[1] == data.validation
    limited = load_task(settings.model_copy(update={"train_limit": 50}))
    assert len(limited.train) + len(limited.selection) == 50
    assert not set(limited.train.groups or []) & set(limited.selection.groups or [])


def test_groups_in_both_files_are_counted(write: Write) -> None:
    train = write("train.csv", by_author(60, 20))
    validation = write("v.csv", "text,label,who\nx,a,author 3\ny,b,author 4\nz,b,somebody else\n")
    source = load_task(TaskSettings(train=str(train), validation=str(validation), group="who")).task.source
    said = "; training rows in 20 groups, 2 of which have validation rows, too, so that scores there are too kind"
    assert source.endswith(said)


def test_words_and_questions_have_groups_too(write: Write) -> None:
    words = [{"tokens": ["a", "b"], "tags": ["X", "Y"], "text": i // 3} for i in range(30)]
    path = write("words.jsonl", "".join(json.dumps(row) + "\n" for row in words))
    assert load_validation(TaskSettings(validation=str(path), group="text"))[1].groups == [
        str(i // 3) for i in range(30)
    ]
    answers = {"text": ["Ann"], "answer_start": [0]}
    rows = [{"question": f"q{i}", "context": f"Ann {i}.", "answers": answers, "book": i // 2} for i in range(6)]
    path = write("questions.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    assert load_validation(TaskSettings(validation=str(path), group="book"))[1].groups == list("001122")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "t.csv",
            by_author(20, 1),
            r"All training rows belong to one group \('author 0'\): name a column with several",
        ),
        ("t.csv", "text,label\n" + "x,a\ny,b\n" * 9, "has no column 'who'"),
        ("t.csv", "text,label,who\nx,a,\n" + "y,b,me\n" * 9, "line 2 .* the column 'who' is empty"),
        ("t.conll", "a X\nb Y\n\n" * 9, r"task\.group names a column of a table, which .* is not: remove it"),
    ],
)
def test_groups_that_are_none(write: Write, name: str, text: str, message: str) -> None:
    with pytest.raises(TrimformerError, match=message):
        load_task(TaskSettings(data=str(write(name, text)), group="who"))


def test_a_named_task_has_no_column_of_groups() -> None:
    with pytest.raises(TrimformerError, match=r"task\.group has no meaning for sentiment"):
        load_task(TaskSettings(name="sentiment", group="who"))


def test_what_a_paired_test_draws_together() -> None:
    """A user's groups; or else the questions of one context, of which all windows make one answer."""
    examples = Examples(["x", "y", "z"], None, [0, 1, 1], ["b", "a", "b"])
    data = Encoded(np.zeros(3, np.int32), None, np.arange(4), np.array([0, 1, 1]), 0, 0, "classification", examples)
    task = Task("t", "classification", ("a", "b"), ("accuracy",), "")
    found = outcome(task, data, np.array([[1.0, 0], [1, 0], [0, 1]]))
    assert found.groups is not None
    assert found.hits is not None
    assert (found.groups.tolist(), found.hits.tolist()) == ([1, 0, 1], [True, False, True])
    questions = Examples(["p", "q", "r"], ["one", "two", "one"], [()] * 3)
    assert KINDS["spans"].groups(questions) == ["one", "two", "one"]
    assert KINDS["classification"].groups(questions) is None
