from collections.abc import Callable
from pathlib import Path

import pytest

from trimformer.errors import TrimformerError
from trimformer.tasks.tables.files import read_table
from trimformer.tasks.tables.rows import class_names, decide_kind, match_labels, take_rows

Write = Callable[[str, str], Path]


@pytest.mark.parametrize(
    ("labels", "kind"),
    [
        (["a", "b"], "classification"),
        (["0", "1"] * 50, "classification"),
        (["1.0", "5.0"], "classification"),
        ([str(i) for i in range(20)], "classification"),
        ([str(i) for i in range(21)], "regression"),
        (["0.5", "1"], "regression"),
        (["0.5"] * 19 + ["1,5"], "regression"),
        (["nan", "1"], "classification"),
    ],
)
def test_kind(labels: list[str], kind: str) -> None:
    assert decide_kind(labels) == kind


def test_class_names_are_in_order() -> None:
    assert class_names(["10", "9", "10"]) == ("9", "10")
    assert class_names(["b", "a", "10"]) == ("10", "a", "b")


@pytest.mark.parametrize(
    ("have", "want", "ids"),
    [
        (["negative", "positive"], ["POSITIVE", "NEGATIVE"], [1, 0]),
        (["a", "c"], ["a", "b", "c"], [0, 2]),
        (["0", "1"], ["NEGATIVE", "POSITIVE"], [0, 1]),
        (["no", "yes"], ["LABEL_0", "LABEL_1"], [0, 1]),
        (["0", "2"], ["LABEL_0", "LABEL_1", "LABEL_2"], [0, 2]),
        (["US", "us"], ["us", "US", "it"], [1, 0]),
        (["1", "2"], ["1", "2", "3"], [0, 1]),
    ],
)
def test_match_labels(have: list[str], want: list[str], ids: list[int]) -> None:
    assert match_labels(have, want) == ids


@pytest.mark.parametrize(
    ("have", "want"),
    [
        (["no", "yes"], ["NEGATIVE", "POSITIVE"]),
        (["1", "2"], ["one star", "two stars", "three stars"]),
        (["1", "2"], ["bad", "good"]),
        (["no", "yes"], ["LABEL_0", "LABEL_1", "LABEL_2"]),
        (["1", "2", "3", "4"], ["LABEL_0", "LABEL_1", "LABEL_2", "LABEL_3", "LABEL_4"]),
        (["1", "2", "3", "4", "5"], ["LABEL_0", "LABEL_1", "LABEL_2", "LABEL_3", "LABEL_4"]),
        (["US", "us"], ["us", "it"]),
        (["Us"], ["us", "US"]),
    ],
)
def test_labels_that_do_not_match(have: list[str], want: list[str]) -> None:
    with pytest.raises(TrimformerError, match=r"labels of the data .* are not those of the model"):
        match_labels(have, want)


def test_empty_label_and_missing_text(write: Write) -> None:
    with pytest.raises(TrimformerError, match=r"line 3: the label in column 'label' is empty"):
        take_rows(read_table(write("a.csv", "text,label\na,1\nb, \n")), "text", None, "label")
    with pytest.raises(TrimformerError, match=r"line 1: column 'text' is empty"):
        take_rows(read_table(write("a.jsonl", '{"text": null, "label": 1}\n')), "text", None, "label")


def test_words_where_a_text_should_stand(write: Write) -> None:
    with pytest.raises(TrimformerError, match=r"line 1: column 'words' holds no plain text \(.* need --kind"):
        take_rows(read_table(write("a.jsonl", '{"words": ["a"], "label": 1}\n')), "words", None, "label")


def test_labels_that_cannot_be_used(write: Write) -> None:
    rows = take_rows(read_table(write("a.csv", "text,label\na,1\nb,x\n")), "text", None, "label")
    with pytest.raises(TrimformerError, match=r"line 3: label 'x' is not a finite number"):
        rows.as_numbers()
    with pytest.raises(TrimformerError, match=r"line 3: label 'x' is not among the known labels \(0, 1\)"):
        rows.as_classes(["0", "1"])
