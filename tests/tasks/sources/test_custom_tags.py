"""The user's own tagged sentences."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.tasks.helpers import like
from trimformer.errors import TrimformerError
from trimformer.tasks.settings import TaskSettings
from trimformer.tasks.sources.custom_tags import load
from trimformer.tasks.sources.custom_tags import load_validation as load_alone
from trimformer.tasks.task import load_task, load_validation, with_label_order

Write = Callable[[str, str], Path]


def jsonl(*rows: dict[str, Any]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def test_jsonl(write: Write) -> None:
    rows = [{"tokens": ["Ann", "runs"], "tags": ["B-PER", "O"]}, {"tokens": ["x"], "tags": ["O"]}]
    train, validation = write("train.jsonl", jsonl(*rows)), write("v.jsonl", jsonl(rows[0]))
    task, examples, others = load(train, validation, TaskSettings())
    assert (task.name, task.kind, task.labels) == ("custom", "tokens", ("O", "B-PER", "I-PER"))
    assert task.metrics == ("f1", "precision", "recall", "accuracy")
    assert (examples.texts, examples.labels) == ([("Ann", "runs"), ("x",)], [(1, 0), (0,)])
    assert others is not None
    assert (others.texts, others.labels) == ([("Ann", "runs")], [(1, 0)])
    assert task.source == f"train: {train}; validation: {validation}"
    assert load(train, None, TaskSettings())[2] is None


def test_blanks_around_tags_do_not_hide_spans(write: Write) -> None:
    path = write("t.jsonl", jsonl({"tokens": ["Ann", "runs", "on"], "tags": ["B-PER", "O ", "O"]}))
    task, examples, _ = load(path, None, TaskSettings())
    assert (task.labels, task.metrics[0]) == (("O", "B-PER", "I-PER"), "f1")
    assert examples.labels == [(1, 0, 0)]


def test_bioes_is_kept_and_scored_as_entities(write: Write) -> None:
    train = write("t.conll", "Ann B-PER\nLee E-PER\nran O\n\nRome S-LOC\n")
    task, examples, _ = load(train, None, TaskSettings())
    assert task.metrics[0] == "f1"
    assert task.labels[:2] == ("O", "B-LOC")
    assert [task.labels[i] for i in examples.labels[0]] == ["B-PER", "E-PER", "O"]
    known = ["O", "B-PER", "I-PER", "E-PER", "S-PER", "B-LOC", "I-LOC", "E-LOC", "S-LOC"]
    task, examples = load_validation(TaskSettings(validation=str(train)), known)
    assert (task.metrics[0], examples.labels) == ("f1", [(1, 3, 0), (8,)])


def test_other_columns_and_integers(write: Write) -> None:
    """Numbers are labels too, in the order of their values."""
    path = write("t.jsonl", jsonl({"words": ["a", "b", "c"], "ids": [10, 9, 10]}))
    settings = TaskSettings(text="words", label="ids")
    task, examples, _ = load(path, None, settings)
    assert (task.labels, task.metrics, examples.labels) == (("9", "10"), ("accuracy",), [(1, 0, 1)])


def test_integers_for_a_model_that_names_them(write: Write) -> None:
    path = write("t.jsonl", jsonl({"tokens": ["a", "b", "c"], "tags": [1, 2, 0]}))
    task, examples = load_validation(TaskSettings(validation=str(path)), ["O", "B-PER", "I-PER"])
    assert (task.labels, task.metrics[0], examples.labels) == (("O", "B-PER", "I-PER"), "f1", [(1, 2, 0)])


def test_parquet(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    path = tmp_path / "a.parquet"
    table = {"tokens": [["a", "b"], ["c"]], "tags": [["NN", "VB"], ["XX"]]}
    pyarrow.parquet.write_table(pyarrow.table(table), path)
    task, examples = load_validation(TaskSettings(validation=str(path)), ["xx", "vb", "nn", "jj"])
    assert (task.labels, examples.labels) == (("XX", "VB", "NN", "jj"), [(2, 1), (0,)])
    with pytest.raises(
        TrimformerError, match=like("row 2 of …a.parquet, the tag 'XX' is not among the known tags (NN, VB, JJ)")
    ):
        load_alone(path, TaskSettings(), ["NN", "VB", "JJ"])


def test_columns(write: Write) -> None:
    train = write("train.conll", "Ann I-PER\nB. I-PER\n\nx O\n")
    task, examples, _ = load(train, None, TaskSettings(scheme="iob1"))
    assert (task.labels, examples.labels) == (("O", "B-PER", "I-PER"), [(1, 2), (0,)])
    row = "1\t{}\t_\tNOUN\t{}\t_\t0\t_\t_\t_\n"
    train = write("train.conllu", row.format("a", "NN") + row.format("b", "NNS"))
    assert load(train, None, TaskSettings(tags="xpos"))[0].labels == ("NN", "NNS")
    assert load_validation(TaskSettings(validation=str(train), tags="xpos"))[0].labels == ("NN", "NNS")


def test_a_model_need_not_know_what_the_data_do_not_have(write: Write) -> None:
    """B-PER makes the task know I-PER too, which a model of names of one word does not."""
    data = load_task(TaskSettings(data=str(write("all.conll", "Ann B-PER\nran O\n\n" * 40))))
    assert data.task.labels == ("O", "B-PER", "I-PER")
    matched = with_label_order(data, ["b-per", "O"])
    assert (matched.task.labels, matched.task.metrics[0]) == (("B-PER", "O"), "f1")
    assert set(matched.train.labels) == set(matched.validation.labels) == {(0, 1)}
    with pytest.raises(
        TrimformerError, match=r"\(O, B-PER\) are not those of the model \(LABEL_0, LABEL_1\): the model"
    ):
        with_label_order(data, ["LABEL_0", "LABEL_1"])


def test_spans_must_be_iob2_unless_the_scheme_is_named(write: Write) -> None:
    train = write("t.conll", "Ann B-PER\n\nx O\nB. I-PER\n")
    with pytest.raises(
        TrimformerError, match=like("line 4 of …t.conll, 'I-PER' does not follow … set task.scheme: iob1")
    ):
        load(train, None, TaskSettings())
    with pytest.raises(TrimformerError, match=r"line 4 of .*t\.conll, 'I-PER' does not follow"):
        load_alone(train, TaskSettings(), None)
    with pytest.raises(
        TrimformerError, match=like("line 1 of …t.conll, 'B-PER' does not follow … set task.scheme: iob2")
    ):
        load(train, None, TaskSettings(scheme="iob1"))
    good = write("good.conll", "Ann B-PER\nx O\n")
    with pytest.raises(TrimformerError, match=r"line 4 of .*t\.conll, 'I-PER' does not follow"):
        load(good, train, TaskSettings())
    with pytest.raises(TrimformerError, match=r"line 1 of .*v\.conll, the tag 'B-LOC' is not among the known tags"):
        load(good, write("v.conll", "Rome B-LOC\n"), TaskSettings())


GOOD = {"tokens": ["a", "b"], "tags": ["X", "Y"]}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"tags": ["X"]}, "line 2 of …t.jsonl, there are 2 tokens but 1 tags: give every token one tag"),
        ({"tokens": ["a", 1]}, "line 2 of …t.jsonl, the token 1 is not a string: write it in quotes"),
        ({"tokens": ["a", None]}, "line 2 of …t.jsonl, the token None is not a string"),
        ({"tags": ["X", 0.5]}, "line 2 of …t.jsonl, the tag 0.5 of 'b' is neither a name nor an integer"),
        ({"tags": [True, "X"]}, "line 2 of …t.jsonl, the tag True of 'a' is neither"),
        ({"tags": ["X", ""]}, "line 2 of …t.jsonl, the tag '' of 'b' is neither"),
        (
            {"tokens": [], "tags": []},
            "line 2 of …t.jsonl, the column 'tokens' holds no list with something in it: fill it in",
        ),
        ({"tokens": "a b"}, "line 2 of …t.jsonl, the column 'tokens' holds no list"),
        ({"tags": None}, "line 2 of …t.jsonl, the column 'tags' holds no list"),
    ],
)
def test_broken_rows(write: Write, row: dict[str, Any], message: str) -> None:
    path = write("t.jsonl", jsonl(GOOD, {**GOOD, **row}))
    with pytest.raises(TrimformerError, match=like(message)):
        load(path, None, TaskSettings())


@pytest.mark.parametrize(
    ("name", "text", "settings", "message"),
    [
        ("t.csv", "tokens,tags\na,X\n", {}, "t.csv cannot hold lists of tokens and tags: use .jsonl or .parquet"),
        ("t.conll", "a X Y\n", {}, "Line 1 of …t.conll has 3 columns where 2 (token, tag) are expected"),
        ("t.conll", "a X\nb X\n", {}, "Every word of …t.conll has the same tag (X), so there is nothing to learn"),
        ("t.conll", "a X\n", {"label": "ner"}, "task.label names a column of a table, which"),
        ("t.jsonl", jsonl(GOOD), {"tags": "ner"}, "task.tags has no meaning for"),
        ("t.jsonl", jsonl(GOOD), {"label": "tag"}, "t.jsonl has no column 'tag': name one of its own (tokens, tags)"),
        ("t.jsonl", jsonl(GOOD), {"scheme": "iob2"}, "line 1 of …t.jsonl, the tag 'X' is not O, B-type or I-type"),
        (
            "t.xml",
            "",
            {},
            "t.xml has an unknown ending: use one of .jsonl, .jsonl.gz, .ndjson, .ndjson.gz, .json, .json.gz, .p",
        ),
        ("t.conllu", "", {"tags": "ner"}, "The setting task.tags names 'ner', but the columns of tags are upos, xpos"),
    ],
)
def test_files_and_settings_that_do_not_fit(
    write: Write, name: str, text: str, settings: dict[str, Any], message: str
) -> None:
    path = write(name, text)
    with pytest.raises(TrimformerError, match=like(message)):
        load(path, None, TaskSettings(**settings))


def test_a_file_of_spans_without_a_word_outside_is_scored_by_entities(write: Write) -> None:
    path = write("t.conll", "Ann B-PER\nLee E-PER\n\nRome S-LOC\n")
    task, _ = load_alone(path, TaskSettings(), None)
    assert task.metrics[0] == "f1"
    assert task.labels[0] == "O"
    task, _ = load_alone(write("u.conll", "Ann S-1\nLee S-2\n"), TaskSettings(), None)
    assert task.metrics == ("accuracy",)
