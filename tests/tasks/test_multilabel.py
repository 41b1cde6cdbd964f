import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score

from trimformer.errors import TrimformerError
from trimformer.tasks import Examples, Task, TaskSettings
from trimformer.tasks.kinds.multilabel import labels_of, metric, scores
from trimformer.tasks.sources.custom import load, load_validation

Write = Callable[[str, str], Path]
METRICS = ("f1_micro", "f1_macro", "accuracy")
TASK = Task("custom", "multilabel", ("a", "b", "c"), METRICS, "here")


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
        TrimformerError, match=r"line 3: the label .* set --kind multilabel, .* or --kind classification"
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
        ("a.jsonl", jsonl(["a"], ["b"], "c"), "auto", "a.jsonl, line 3: the label in column 'label' is no list"),
        ("a.jsonl", jsonl(["a"], None), "multilabel", "a.jsonl, line 2: the label in column 'label' is no list"),
        ("a.jsonl", jsonl(["a"], {"b": 1}), "multilabel", "a.jsonl, line 2: the label in column 'label' is no list"),
        ("a.jsonl", jsonl(["a", ["b"]]), "auto", "a.jsonl, line 1: the labels in column 'label' hold something that"),
        ("a.jsonl", jsonl(["a", None]), "auto", "a.jsonl, line 1: the labels in column 'label' hold something that"),
        ("a.csv", "text,label\nx,a\ny,a||b\n", "multilabel", "a.csv, line 3: the labels in column 'label' hold"),
        ("a.CSV", 'text,label\nx,a\ny,"[""a"", ""b""]"\n', "multilabel", "a.CSV, line 3: the label in column 'label'"),
        ("a.jsonl", jsonl([0, 1], [0, 1, 0]), "auto", "a.jsonl, line 2: the labels in column 'label' hold '0' twice"),
        ("a.jsonl", jsonl("a", "b", ["c"]), "auto", "a.jsonl, line 3: the label in column 'label' is a list; write"),
        ("a.jsonl", jsonl(["a"]), "classification", "a.jsonl, line 1: the label in column 'label' is a list; write"),
        ("a.jsonl", jsonl(["a"]), "regression", "a.jsonl, line 1: the label in column 'label' is a list; write"),
        ("a.jsonl", jsonl([], []), "auto", "a.jsonl: no row has a label"),
        ("a.jsonl", jsonl(["a"], []), "auto", "a.jsonl: only one label (a) occurs"),
        ("a.jsonl", jsonl(["a", "b"], ["b", "a"]), "auto", "a.jsonl: every row has the same label (a, b)"),
        ("a.csv", "text,labels\nx,a\n", "multilabel", "a.csv has no column 'label'; name one of its own (text"),
        ("a.jsonl", '{"text": 1, "label": ["a"]}\n{"label": ["b"]}\n', "auto", "line 2: column 'text' is empty"),
    ],
)  # fmt: skip
def test_bad_rows(write: Write, name: str, text: str, kind: str, message: str) -> None:
    with pytest.raises(TrimformerError, match=re.escape(message)):
        load(TaskSettings(data=str(write(name, text)), kind=kind))  # type: ignore[arg-type]


def test_label_that_train_does_not_know(write: Write) -> None:
    folder = write("train.jsonl", jsonl(["a"], ["b"])).parent
    write("validation.jsonl", jsonl(["a"], ["b", "c"]))
    with pytest.raises(TrimformerError, match=r"validation.jsonl, line 2: label 'c' .* \(a, b\)"):
        load(TaskSettings(data=str(folder)))
    write("validation.jsonl", jsonl(["a"], "b"))
    with pytest.raises(TrimformerError, match=r"validation.jsonl, line 2: the label in column 'label' is no list"):
        load(TaskSettings(data=str(folder)))


def test_matrix() -> None:
    matrix = labels_of(TASK, Examples(["x", "y", "z"], None, [(0, 2), (), (1,)]))
    assert matrix.dtype == np.float32
    assert matrix.tolist() == [[1, 0, 1], [0, 0, 0], [0, 1, 0]]


def test_scores() -> None:
    """Against scikit-learn, and against the counts that the definitions are made of."""
    random = np.random.default_rng(0)
    truth, predicted = random.random((200, 3)) < [0.2, 0.5, 0.7], random.random((200, 3)) < 0.4
    found = scores(TASK, predicted, truth)
    assert list(found) == list(METRICS)
    per_label = f1_score(truth, predicted, average=None)
    assert found["f1_macro"] == pytest.approx(per_label.mean())
    assert found["f1_micro"] == pytest.approx(f1_score(truth.ravel(), predicted.ravel()))
    assert found["accuracy"] == accuracy_score(truth, predicted) == np.mean((truth == predicted).all(1))
    (_, false), (missed, right) = confusion_matrix(truth.ravel(), predicted.ravel())
    assert found["f1_micro"] == pytest.approx(2 * right / (2 * right + false + missed))
    assert metric(TASK)(predicted, truth) == pytest.approx(found["f1_micro"], abs=1e-12)


def test_labels_that_never_occur_count_as_0() -> None:
    none = np.zeros((4, 3), dtype=bool)
    assert scores(TASK, none, none) == {"f1_micro": 0, "f1_macro": 0, "accuracy": 1}
    assert metric(TASK)(none, none) == 0
    first = none.copy()
    first[:, 0] = True
    assert scores(TASK, first, first) == {"f1_micro": 1, "f1_macro": pytest.approx(1 / 3), "accuracy": 1}
