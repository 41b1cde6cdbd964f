import pytest

from trimformer.errors import TrimformerError
from trimformer.tasks.labels import class_names, is_span_tagging, match_labels


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


def test_is_span_tagging() -> None:
    assert is_span_tagging(["O", "B-PER", "I-PER"])
    assert is_span_tagging(["I-a-b"])
    for labels in (["O"], ["NN", "O"], ["B-PER", "E-PER"], ["O", "B"], ["0", "1"], []):
        assert not is_span_tagging(labels)
