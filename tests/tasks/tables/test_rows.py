import json
from collections.abc import Callable
from pathlib import Path

import pytest

from trimformer.errors import TrimformerError
from trimformer.tasks.tables.files import read_table
from trimformer.tasks.tables.rows import ClassRows, NumberRows, decide_kind

Write = Callable[[str, str], Path]


@pytest.mark.parametrize(
    ("labels", "kind"),
    [
        (["a", "b"], "classification"),
        (["0", "1"] * 50, "classification"),
        (["1.0", "5.0"], "classification"),
        ([str(i) for i in range(20)], "classification"),
        ([str(i) for i in range(21)], None),
        (["0.5", "1"], "regression"),
        (["0.5"] * 19 + ["1,5"], "regression"),
        (["nan", "1"], "classification"),
        (["1_0", "2_5"], "classification"),
        (["true", "false"], "classification"),
    ],
)
def test_kind(labels: list[str], kind: str | None) -> None:
    assert kind_of(labels) == kind


def kind_of(labels: list[str], names: list[str] | None = None) -> str | None:
    reading = decide_kind(labels, names)
    return None if reading is None else reading.kind


ZIPS = [str(10_000 + 37 * i) for i in range(30)] * 3


@pytest.mark.parametrize(
    ("labels", "names", "kind"),
    [
        # Those that the head has for names, or ids of its outputs.
        ([str(i) for i in range(77)], [f"intent {i}" for i in range(77)], "classification"),
        ([str(i) for i in range(77)], [f"LABEL_{i}" for i in range(77)], "classification"),
        (ZIPS, sorted(set(ZIPS)), "classification"),
        (ZIPS[:5], sorted(set(ZIPS)), "classification"),
        (["0.5", "1.5"], ["0.5", "1.5"], "classification"),
        # One output.
        (["1", "2", "3"], ["LABEL_0"], "regression"),
        (ZIPS, ["price"], "regression"),
        (ZIPS, [], "regression"),
        (["0", "1"], ["LABEL_0"], "classification"),
        (["0", "1"], [], "regression"),
        (["true", "false"], ["LABEL_0"], "classification"),
        (["true", "false"], [], "regression"),
        (["true", "false"], ["no", "yes"], "classification"),
        (["a", "b"], ["LABEL_0"], "classification"),
        # A head that does not fit says nothing.
        (["1", "2", "3"], ["neg", "pos"], "classification"),
        (["0.5", "1.5"], ["neg", "pos"], "regression"),
        (ZIPS, ["neg", "pos"], None),
        (ZIPS, None, None),
    ],
)
def test_the_head_is_read_first(labels: list[str], names: list[str] | None, kind: str | None) -> None:
    assert kind_of(labels, names) == kind


def test_one_value_in_two_spellings_is_one_class_in_every_form(tmp_path: Path, write: Write) -> None:
    import pyarrow
    import pyarrow.parquet

    numbers = write("n.csv", "text,label\na,1\nb,1.0\nc,0\nd,0.0\n"), write("n.jsonl", lines(1, 1.0, 0, "0.0"))
    truths = (
        write("t.tsv", "text\tlabel\na\tTrue\nb\ttrue\nc\tFalse\nd\tfalse\n"),
        write("t.jsonl", lines(True, "True", False, "false")),
    )
    for name, cells in (("n", [1.0, 1.0, 0.0, 0.0]), ("t", [True, True, False, False])):
        table = pyarrow.table({"text": list("abcd"), "label": cells})
        pyarrow.parquet.write_table(table, tmp_path / f"{name}.parquet")
    for files, names in ((numbers, ("0", "1")), (truths, ("false", "true"))):
        for path in (*files, files[0].with_suffix(".parquet")):
            rows = ClassRows.take(read_table(path), "text", None, "label")
            assert rows.names() == names
            assert rows.as_examples(names).labels == [1, 1, 0, 0]
    mixed = ClassRows.take(read_table(write("m.csv", "text,label\na,1\nb,1.0\nc,True\nd,0\n")), "text", None, "label")
    assert (mixed.names(), mixed.labels) == (("0", "1"), ["1", "1", "1", "0"])


def lines(*labels: object) -> str:
    return "".join(json.dumps({"text": str(i), "label": label}) + "\n" for i, label in enumerate(labels))


def test_empty_label_and_missing_text(write: Write) -> None:
    with pytest.raises(TrimformerError, match=r"line 3 of .*, the label in column 'label' is empty"):
        ClassRows.take(read_table(write("a.csv", "text,label\na,1\nb, \n")), "text", None, "label")
    with pytest.raises(TrimformerError, match=r"line 1 of .*, the column 'text' is empty"):
        ClassRows.take(read_table(write("a.jsonl", '{"text": null, "label": 1}\n')), "text", None, "label")


def test_words_where_a_text_should_stand(write: Write) -> None:
    with pytest.raises(TrimformerError, match=r"line 1 of .*, the column 'words' holds no plain text \(.* need --kind"):
        ClassRows.take(read_table(write("a.jsonl", '{"words": ["a"], "label": 1}\n')), "words", None, "label")


def test_labels_that_cannot_be_used(write: Write) -> None:
    columns = read_table(write("a.csv", "text,label\na,1\nb,x\n")), "text", None, "label"
    with pytest.raises(TrimformerError, match=r"line 3 of .*, the label 'x' is not a finite number"):
        NumberRows.take(*columns).as_examples()
    with pytest.raises(TrimformerError, match=r"line 3 of .*, the label 'x' is not among the known labels \(0, 1\)"):
        ClassRows.take(*columns).as_examples(["0", "1"])


def test_many_integers_from_0_that_repeat_are_classes_and_others_are_doubtful() -> None:
    ids = [str(i) for i in range(77)]
    assert kind_of(ids * 2) == "classification"
    assert kind_of(ids) is None
    assert kind_of(ids[1:] * 2) is None
