import pytest

from trimformer.errors import TrimformerError
from trimformer.tasks.labels import (
    as_bioes,
    as_numbers,
    class_names,
    is_score_of_one,
    match_labels,
    number,
    span_marks,
    spelling,
    spellings,
)


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
        (["0", "2"], ["0", "1", "2"], [0, 2]),
        (["0", "2"], ["neg", "neu", "pos"], [0, 2]),
        (["5", "1"], ["1.0", "5.0"], [1, 0]),
        (["1"], ["1", "1.0"], [0]),
        (["true", "false"], ["False", "True"], [1, 0]),
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
        (["0", "1"], ["neg", "neu", "pos"]),
        (["no", "yes"], ["LABEL_0", "LABEL_1", "LABEL_2"]),
        (["1", "2", "3", "4"], ["LABEL_0", "LABEL_1", "LABEL_2", "LABEL_3", "LABEL_4"]),
        (["1", "2", "3", "4", "5"], ["LABEL_0", "LABEL_1", "LABEL_2", "LABEL_3", "LABEL_4"]),
        (["US", "us"], ["us", "it"]),
        (["Us"], ["us", "US"]),
        (["0", "1"], ["1", "2"]),  # ids or names? "1" is a name, so that they are not ids
        (["0", "1", "2"], ["1", "2", "3"]),
    ],
)
def test_labels_that_do_not_match(have: list[str], want: list[str]) -> None:
    with pytest.raises(TrimformerError, match=r"labels of the data .* are not those of the model"):
        match_labels(have, want)


def test_marks_of_spans() -> None:
    assert span_marks(["O", "B-PER", "I-PER"]) == "BI"
    assert span_marks(["I-a-b"]) == "BI"
    assert span_marks(["O", "B-PER", "E-PER", "S-LOC"]) == "BIES"
    assert span_marks(["O", "U-PER"]) == "BILU"
    assert span_marks(["B-PER", "E-PER"]) == "BIES"
    assert span_marks(["B-PER", "I-PER", "E-PER", "S-LOC"]) == "BIES"
    assert span_marks(["B-PER", "L-PER", "U-PER"]) == "BILU"
    for labels in (
        ["O"],
        ["NN", "O"],
        ["B-PER", "E-LOC"],
        ["S-1", "S-2"],
        ["E-1", "S-1"],
        ["I-PER", "S-PER"],
        ["O", "B"],
        ["0", "1"],
        [],
        ["O", "E-X", "L-X"],
        ["O", "M-X"],
    ):
        assert span_marks(labels) is None


def test_bilou_in_terms_of_bioes() -> None:
    assert [as_bioes(tag) for tag in ("O", "B-L", "I-U", "L-U", "U-L", "X")] == ["O", "B-L", "I-U", "E-U", "S-L", "O"]


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("1.0", "1"), ("-1.00", "-1"), ("True", "true"), ("FALSE", "false"), (" a ", "a"),
        ("1.5", "1.5"), ("01", "01"), ("1.", "1."), ("v1.0", "v1.0"), ("Truely", "Truely"),
    ],
)  # fmt: skip
def test_one_spelling_of_each_value(written: str, name: str) -> None:
    assert spelling(written) == name


def test_truth_values_beside_0_and_1_are_these() -> None:
    assert spellings(["1", "1.0", "True", "true"]) == ["1"] * 4
    assert spellings(["0", "True", "false"]) == ["0", "1", "0"]
    assert spellings(["True", "true", "False"]) == ["true", "true", "false"]
    assert spellings(["2", "true"]) == ["2", "true"]


@pytest.mark.parametrize(
    "label", ["1_0", "nan", "inf", "-Infinity", "\uff11\uff10", "\u0661", "1e999", "0x1", "1,5", "", "."]
)
def test_what_is_no_number_in_a_table(label: str) -> None:
    assert number(label) is None


def test_numbers_as_people_write_them() -> None:
    assert [number(label) for label in ("1", "-1.5", "+2.", ".5", "1e-3", "2E2")] == [1, -1.5, 2, 0.5, 0.001, 200]


def test_one_name_composed_and_decomposed_is_one_class() -> None:
    assert spellings(["caf\u00e9", "cafe\u0301 "]) == ["caf\u00e9"] * 2
    assert match_labels(["caf\u00e9", "th\u00e9"], ["the\u0301", "cafe\u0301"]) == [1, 0]


def test_truth_values_are_numbers_where_nothing_else_is_there() -> None:
    assert as_numbers(["true", "false"]) == ["1", "0"]
    assert as_numbers(["true", "2"]) == ["true", "2"]
    assert is_score_of_one(["LABEL_0"], ["false", "true"])
