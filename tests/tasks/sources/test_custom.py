import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.tasks.helpers import like
from trimformer.errors import TrimformerError
from trimformer.tasks.settings import TaskSettings
from trimformer.tasks.sources.custom import _kind, load
from trimformer.tasks.sources.custom import load_validation as load_alone
from trimformer.tasks.task import load_task, load_validation

Write = Callable[[str, str], Path]


def csv_rows(n: int, labels: list[str]) -> str:
    return "text,label\n" + "".join(f"text {i},{labels[i % len(labels)]}\n" for i in range(n))


def test_folder_with_both_files(write: Write) -> None:
    write("train.csv", csv_rows(40, ["good", "bad"]))
    folder = write("validation.jsonl", '{"text": "x", "label": "good"}\n').parent
    data = load_task(TaskSettings(data=str(folder)))
    assert (data.task.kind, data.task.labels) == ("classification", ("bad", "good"))
    assert data.task.metrics == ("accuracy", "f1_macro")
    assert (len(data.train), len(data.selection), data.validation.labels) == (34, 6, [1])
    assert "validation.jsonl" in data.task.source


def test_one_file_is_split_the_same_for_every_seed(write: Write) -> None:
    settings = TaskSettings(data=str(write("all.csv", csv_rows(100, ["a", "b"]))))
    first, second = load_task(settings, seed=0), load_task(settings, seed=1)
    assert len(first.validation) == 15
    assert first.validation == second.validation
    assert first.selection != second.selection
    parts = [set(part.texts) for part in (first.train, first.selection, first.validation)]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 100
    assert "15 of its rows, split off" in first.task.source
    assert load_validation(settings)[1] == first.validation


def test_columns_and_pairs(write: Write) -> None:
    text = "q\ta\ty\n" + "".join(f"q{i}\ta{i}\t{i % 2}\n" for i in range(20))
    path = write("all.tsv", text)
    data = load_task(TaskSettings(data=str(path), text="q", text_pair="a", label="y"))
    assert data.train.pairs == [text.replace("q", "a") for text in data.train.texts]


@pytest.mark.parametrize("names", [{"text": "label"}, {"label": "text"}, {"text_pair": "label"}])
def test_a_label_is_no_text(write: Write, names: dict[str, str]) -> None:
    path = write("all.csv", csv_rows(20, ["a", "b"]))
    with pytest.raises(TrimformerError, match="as a text and as the label"):
        load(TaskSettings(data=str(path), **names))


def test_regression(write: Write) -> None:
    path = write("all.jsonl", "".join(json.dumps({"text": f"t{i}", "label": i / 7}) + "\n" for i in range(30)))
    data = load_task(TaskSettings(data=str(path)))
    assert (data.task.kind, data.task.labels) == ("regression", ())
    assert data.task.metrics == ("pearson", "spearman", "mse")
    assert all(isinstance(label, float) for label in data.train.labels)
    assert "labels read as numbers" in data.task.source
    with pytest.raises(TrimformerError, match="No row can be held out, for each of the 30 classes has a single row"):
        load_task(TaskSettings(data=str(path), kind="classification"))


def test_many_ids_are_classes_and_the_source_says_so(write: Write) -> None:
    path = write("all.csv", csv_rows(154, [str(i) for i in range(77)]))
    data = load_task(TaskSettings(data=str(path)))
    assert (data.task.kind, len(data.task.labels)) == ("classification", 77)
    assert "read as classes, because they are 0 to 76 without a gap" in data.task.source
    asked = load_task(TaskSettings(data=str(path), kind="regression")).task
    assert (asked.kind, "read as" in asked.source) == ("regression", False)


def test_a_json_array_is_a_table(write: Write) -> None:
    rows = [{"text": f"text {i}", "label": "ab"[i % 2]} for i in range(40)]
    assert load_task(TaskSettings(data=str(write("a.json", json.dumps(rows))))).task.labels == ("a", "b")
    questions = [{"question": "who?", "context": "a dog", "answers": [{"text": "dog", "answer_start": 2}]}] * 2
    assert _kind(write("b.json", json.dumps(questions)), TaskSettings())[0].kind == "spans"
    tags = [{"tokens": ["a"], "tags": ["X"]}] * 2
    assert _kind(write("c.json", json.dumps(tags)), TaskSettings())[0].kind == "tokens"


def test_quotes_that_may_be_letters_are_named_in_the_source(write: Write) -> None:
    text = "text\tlabel\n" + "".join(f'"text {i}"\t{"ab"[i % 2]}\n' for i in range(40))
    data = load_task(TaskSettings(data=str(write("a.tsv", text))))
    assert '"text 1"' in [*data.train.texts, *data.selection.texts, *data.validation.texts]
    assert "were kept as letters of the texts" in data.task.source


def test_doubtful_integers_are_asked_about_by_training_and_scoring_alike(write: Write) -> None:
    zips = [str(10_000 + 37 * i) for i in range(25)]
    path = str(write("all.csv", csv_rows(100, zips)))
    question = "are 25 different integers .* name --kind classification or --kind regression"
    for names in (None, ["neg", "pos"]):
        with pytest.raises(TrimformerError, match=question):
            load_task(TaskSettings(data=path), labels=names)
        with pytest.raises(TrimformerError, match=question):
            load_validation(TaskSettings(validation=path), labels=names)
    for names, kind in ((zips, "classification"), (["price"], "regression"), ([], "regression")):
        trained = load_task(TaskSettings(data=path), labels=names).task
        assert trained.kind == load_validation(TaskSettings(validation=path), labels=names)[0].kind == kind
        assert f"labels read as {'classes' if kind == 'classification' else 'numbers'}" in trained.source
    assert load_task(TaskSettings(data=path, kind="classification")).task.labels == tuple(zips)


def test_train_limit(write: Write) -> None:
    path = write("all.csv", csv_rows(200, ["a", "b"]))
    data = load_task(TaskSettings(data=str(path), train_limit=40))
    assert len(data.train) + len(data.selection) == 40
    assert data.train.labels.count(0) == data.train.labels.count(1)


def test_validation_alone_follows_the_models_labels(write: Write) -> None:
    path = write("v.csv", "text,label\nx,good\ny,bad\n")
    settings = TaskSettings(validation=str(path))
    assert load_validation(settings)[1].labels == [1, 0]
    task, examples = load_validation(settings, labels=["Good", "Fair", "Bad"])
    assert (task.labels, examples.labels) == (("Good", "Fair", "Bad"), [0, 2])
    with pytest.raises(TrimformerError, match=r"has a validation file .* and no training file"):
        load_task(settings)


def test_validation_alone_for_a_model_with_one_output(write: Write) -> None:
    settings = TaskSettings(validation=str(write("v.csv", "text,label\nx,1\ny,2\n")))
    task, examples = load_validation(settings, labels=["LABEL_0"])
    assert (task.kind, examples.labels) == ("regression", [1.0, 2.0])


@pytest.mark.parametrize(
    ("train", "extra", "message"),
    [
        (csv_rows(20, ["a"]), {}, "Every row of …all.csv has the same label (a)"),
        (csv_rows(5, ["a", "b"]), {}, "Only 5 training rows are left to split"),
        (csv_rows(20, ["a", "b"]), {"text": "Test"}, "no column 'Test': name one of its own (text, label)"),
        (csv_rows(20, ["0.1", "x"]), {"kind": "regression"}, "line 3 of …, the label 'x' is not a finite number"),
        (csv_rows(20, ["0.1", ""]), {}, "line 3 of …, the label in column 'label' is empty"),
        (csv_rows(100, ["a"] * 19 + ["b"]), {"train_limit": 10}, "raise task.train_limit"),
    ],
)
def test_bad_rows(write: Write, train: str, extra: dict[str, object], message: str) -> None:
    path = write("all.csv", train)
    with pytest.raises(TrimformerError, match=like(message)):
        load_task(TaskSettings(data=str(path), **extra))  # type: ignore[arg-type]


def test_label_that_train_does_not_know(write: Write) -> None:
    train = write("train.csv", csv_rows(20, ["a", "b"]))
    write("validation.csv", "text,label\nx,a\ny,c\n")
    with pytest.raises(TrimformerError, match=r"line 3 of .*validation.csv, the label 'c' .* \(a, b\)"):
        load_task(TaskSettings(data=str(train.parent)))


def test_no_data(tmp_path: Path, write: Write) -> None:
    with pytest.raises(TrimformerError, match="No data is given"):
        load_task(TaskSettings())
    with pytest.raises(TrimformerError, match="nowhere does not exist"):
        load_task(TaskSettings(data=str(tmp_path / "nowhere")))
    with pytest.raises(TrimformerError, match="holds no train file"):
        load_task(TaskSettings(data=str(tmp_path)))
    with pytest.raises(TrimformerError, match=r"gone.csv is not a file"):
        load_task(TaskSettings(train=str(tmp_path / "gone.csv")))
    path = str(write("train.csv", csv_rows(20, ["a", "b"])))
    with pytest.raises(TrimformerError, match=r"Both task.data \(.*\) and task.train \(.*\) name a training file"):
        load_task(TaskSettings(data=path, train=path))
    write("train.tsv", "text\tlabel\n")
    with pytest.raises(TrimformerError, match=r"both train.csv and train.tsv"):
        load_task(TaskSettings(data=str(tmp_path)))


QUESTION = {"question": "who", "context": "I am", "answers": {"text": ["I"], "answer_start": [0]}}
ARTICLE = {
    "paragraphs": [
        {"context": "I am", "qas": [{"id": "q", "question": "who", "answers": [{"text": "I", "answer_start": 0}]}]}
    ]
}
WORDS = "w1 A\nw2 B\n\nw3 B\n"
TREE = "1\tw1\t_\tA\t_\t_\t0\t_\t_\t_\n2\tw2\t_\tB\t_\t_\t1\t_\t_\t_\n\n"


@pytest.mark.parametrize(
    ("ending", "text", "kind"),
    [
        (".conll", WORDS, "tokens"),
        (".conllu", TREE, "tokens"),
        (".jsonl", json.dumps({"tokens": ["w1", "w2"], "tags": ["A", "B"]}) + "\n", "tokens"),
        (".json", json.dumps({"data": [ARTICLE]}), "spans"),
        (".jsonl", json.dumps(QUESTION) + "\n", "spans"),
        (".jsonl", '{"text": "x", "label": ["a"]}\n{"text": "y", "label": ["b"]}\n', "multilabel"),
        (".tsv", "text\tlabel\nx\ta\ny\tb\n", "classification"),
        (".CONLL", WORDS, "tokens"),
        (".JSON", json.dumps({"data": [ARTICLE]}), "spans"),
        (".CSV", "text,label\nx,a\ny,b\n", "classification"),
    ],
)
def test_the_kind_is_seen(write: Write, ending: str, text: str, kind: str) -> None:
    write(f"train{ending}", text)
    settings = TaskSettings(data=str(write(f"validation{ending}", text).parent))
    task, train, validation = load(settings)
    assert (task.kind, task.name) == (kind, "custom")
    assert validation == train
    alone = load_alone(settings, labels=None)
    assert alone is not None
    assert (alone[0].kind, alone[1]) == (kind, train)
    assert load(TaskSettings(data=settings.data, kind=kind))[0] == task  # type: ignore[arg-type]


def test_a_named_text_column_makes_questions_texts(write: Write) -> None:
    rows = "".join(json.dumps(QUESTION | {"label": label}) + "\n" for label in "ab")
    settings = TaskSettings(data=str(write("train.jsonl", rows)), text="question", text_pair="context")
    task, train, _ = load(settings)
    assert (task.kind, train.texts, train.pairs) == ("classification", ["who"] * 2, ["I am"] * 2)


@pytest.mark.parametrize(
    ("row", "columns", "kind"),
    [
        ({"words": ["x"], "ner": ["A"]}, {"text": "words", "label": "ner"}, "tokens"),
        ({"tokens": ["x"], "ner": ["A"]}, {"label": "ner"}, "tokens"),
        ({"q": "x", "c": "A", "a": QUESTION["answers"]}, {"text": "q", "text_pair": "c", "label": "a"}, "spans"),
        ({"q": "x", "c": "A", "a": [{"text": "A"}]}, {"text": "q", "text_pair": "c", "label": "a"}, "spans"),
        ({"q": "x", "context": "A", "answers": QUESTION["answers"]}, {"text": "q"}, "spans"),
        ({"q": "x", "tags": ["A"]}, {"text": "q", "label": "tags"}, "multilabel"),
    ],
)
def test_the_cells_of_named_columns_are_looked_at(
    write: Write, row: dict[str, object], columns: dict[str, str], kind: str
) -> None:
    path = write("train.jsonl", json.dumps(row) + "\n")
    assert _kind(path, TaskSettings(**columns))[0].kind == kind  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "text", "field", "value", "kind"),
    [
        ("train.csv", csv_rows(9, ["a", "b"]), "scheme", "iob1", "classification"),
        ("train.csv", csv_rows(9, ["a", "b"]), "stride", 32, "classification"),
        ("train.csv", csv_rows(9, ["a", "b"]), "tags", "xpos", "classification"),
        ("train.csv", csv_rows(9, ["0.5", "1"]), "stride", 32, "regression"),
        ("train.conll", WORDS, "stride", 32, "tokens"),
        ("train.conll", WORDS, "text_pair", "b", "tokens"),
        ("train.jsonl", json.dumps(QUESTION) + "\n", "truncation", "both", "spans"),
        ("train.jsonl", json.dumps(QUESTION) + "\n", "scheme", "iob2", "spans"),
    ],
)
def test_settings_that_the_kind_does_not_read(
    write: Write, name: str, text: str, field: str, value: object, kind: str
) -> None:
    settings = TaskSettings(data=str(write(name, text)), **{field: value})  # type: ignore[arg-type]
    with pytest.raises(
        TrimformerError, match=rf"task\.{field} has no meaning for {kind}, which these data are read as"
    ):
        load(settings)
    with pytest.raises(TrimformerError, match=rf"task\.{field} has no meaning for {kind}"):
        load_alone(settings.model_copy(update={"validation": settings.data, "data": None}), labels=None)


def test_columns_that_are_missing(write: Write) -> None:
    path = write("a.jsonl", '{"tokens": ["x"]}\n')
    with pytest.raises(TrimformerError, match=r"a.jsonl has no column 'tags'"):
        load(TaskSettings(data=str(path), kind="tokens"))
    with pytest.raises(TrimformerError, match=r"no column 'label': name one of its own \(tokens\) .* with --kind"):
        load(TaskSettings(data=str(path)))
    path = write("b.jsonl", '{"question": "x"}\n')
    with pytest.raises(TrimformerError, match=r"b.jsonl has no column 'context'"):
        load(TaskSettings(data=str(path), kind="spans"))


def test_a_column_is_not_both_texts_of_a_pair(write: Write) -> None:
    path = str(write("all.csv", csv_rows(40, ["a", "b"])))
    with pytest.raises(TrimformerError, match="is named as both texts of a pair"):
        load_task(TaskSettings(data=path, text_pair="text"))
