import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.tasks.helpers import like
from trimformer.errors import TrimformerError
from trimformer.tasks.data import Examples
from trimformer.tasks.settings import TaskSettings
from trimformer.tasks.sources.custom import load, load_validation

Write = Callable[[str, str], Path]
METRICS = ("f1_micro", "f1_macro", "accuracy")


def jsonl(*labels: object) -> str:
    return "".join(json.dumps({"text": f"t{i}", "label": label}) + "\n" for i, label in enumerate(labels))


def test_lists_are_detected(write: Write) -> None:
    path = write("all.jsonl", jsonl(["b", "a"], [], ["b"], ["c"]))
    task, examples, validation = load(TaskSettings(data=str(path)))
    assert (task.kind, task.labels, task.metrics, validation) == ("multilabel", ("a", "b", "c"), METRICS, None)
    assert examples == Examples(["t0", "t1", "t2", "t3"], None, [(0, 1), (), (1,), (2,)])


def test_parquet(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    columns = {"text": ["x", "y"], "other": ["X", "Y"], "topics": [[10, 9], []]}
    pyarrow.parquet.write_table(pyarrow.table(columns), tmp_path / "all.parquet")
    settings = TaskSettings(data=str(tmp_path / "all.parquet"), text_pair="other", label="topics")
    task, examples, _ = load(settings)
    assert (task.kind, task.labels) == ("multilabel", ("9", "10"))
    assert examples == Examples(["x", "y"], ["X", "Y"], [(0, 1), ()])


@pytest.mark.parametrize(("name", "comma"), [("train.csv", ","), ("train.tsv", "\t")])
def test_names_between_bars(write: Write, name: str, comma: str) -> None:
    text = "text,label\nx,b | a\ny,\nz,c\n".replace(",", comma)
    task, examples, _ = load(TaskSettings(data=str(write(name, text)), kind="multilabel"))
    assert (task.labels, examples.labels) == (("a", "b", "c"), [(0, 1), (), (2,)])


@pytest.mark.parametrize("label", ["b|a", "['a']"])
def test_what_looks_like_several_labels_needs_the_kind(write: Write, label: str) -> None:
    settings = TaskSettings(data=str(write("TRAIN.TSV", f"text\tlabel\nx\tc\ny\t{label}\n")))
    with pytest.raises(
        TrimformerError, match=r"line 3 of .*, the label .* set --kind multilabel, .* or --kind classification"
    ):
        load(settings)
    task, _, _ = load(settings.model_copy(update={"kind": "classification"}))
    assert (task.kind, set(task.labels)) == ("classification", {label, "c"})


def test_validation(write: Write) -> None:
    folder = write("train.jsonl", jsonl(["a"], ["b"])).parent
    path = write("validation.jsonl", jsonl(["b"], []))
    validation = load(TaskSettings(data=str(folder)))[2]
    assert validation is not None
    assert validation.labels == [(1,), ()]
    found = load_validation(TaskSettings(validation=str(path)), labels=["a", "b"])
    assert found is not None
    assert (found[0].kind, found[0].labels, found[1].labels) == ("multilabel", ("b",), [(0,), ()])


@pytest.mark.parametrize(
    ("name", "text", "kind", "message"),
    [
        ("a.jsonl", jsonl(["a"], ["b"], "c"), "auto", "line 3 of …a.jsonl, the label in column 'label' is not a list"),
        ("a.jsonl", jsonl(["a"], None), "multilabel", "line 2 of …a.jsonl, the label in column 'label' is not a list"),
        (
            "a.jsonl",
            jsonl(["a"], {"b": 1}),
            "multilabel",
            "line 2 of …a.jsonl, the label in column 'label' is not a list",
        ),
        (
            "a.jsonl",
            jsonl(["a", ["b"]]),
            "auto",
            "line 1 of …a.jsonl, the labels in column 'label' hold something that",
        ),
        ("a.jsonl", jsonl(["a", None]), "auto", "line 1 of …a.jsonl, the labels in column 'label' hold something that"),
        ("a.csv", "text,label\nx,a\ny,a||b\n", "multilabel", "line 3 of …a.csv, the labels in column 'label' hold"),
        (
            "a.CSV",
            'text,label\nx,a\ny,"[""a"", ""b""]"\n',
            "multilabel",
            "line 3 of …a.CSV, the label in column 'label'",
        ),
        (
            "a.jsonl",
            jsonl([0, 1], [0, 1, 0]),
            "auto",
            "line 2 of …a.jsonl, the labels in column 'label' hold '0' twice",
        ),
        ("a.jsonl", jsonl("a", "b", ["c"]), "auto", "line 3 of …a.jsonl, the label in column 'label' is a list: write"),
        ("a.jsonl", jsonl(["a"]), "classification", "line 1 of …a.jsonl, the label in column 'label' is a list: write"),
        ("a.jsonl", jsonl(["a"]), "regression", "line 1 of …a.jsonl, the label in column 'label' is a list: write"),
        ("a.jsonl", jsonl([], []), "auto", "No row of …a.jsonl has a label"),
        ("a.jsonl", jsonl(["a"], []), "auto", "Only one label (a) occurs in …a.jsonl"),
        ("a.jsonl", jsonl(["a", "b"], ["b", "a"]), "auto", "Every row of …a.jsonl has the same label (a, b)"),
        ("a.csv", "text,labels\nx,a\n", "multilabel", "a.csv has no column 'label': name one of its own (text"),
        (
            "a.jsonl",
            '{"text": 1, "label": ["a"]}\n{"label": ["b"]}\n',
            "auto",
            "line 2 of …, the column 'text' is empty",
        ),
    ],
)
def test_bad_rows(write: Write, name: str, text: str, kind: str, message: str) -> None:
    with pytest.raises(TrimformerError, match=like(message)):
        load(TaskSettings(data=str(write(name, text)), kind=kind))  # type: ignore[arg-type]


def test_label_that_train_does_not_know(write: Write) -> None:
    folder = write("train.jsonl", jsonl(["a"], ["b"])).parent
    write("validation.jsonl", jsonl(["a"], ["b", "c"]))
    with pytest.raises(TrimformerError, match=r"line 2 of .*validation.jsonl, the label 'c' .* \(a, b\)"):
        load(TaskSettings(data=str(folder)))
    write("validation.jsonl", jsonl(["a"], "b"))
    with pytest.raises(
        TrimformerError, match=like("line 2 of …validation.jsonl, the label in column 'label' is not a list")
    ):
        load(TaskSettings(data=str(folder)))
