"""What is said about rows whose labels or texts are doubtful."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from trimformer.tasks.data import Examples, Task
from trimformer.tasks.doubts import data_notes
from trimformer.tasks.kinds import KINDS
from trimformer.tasks.settings import TaskSettings
from trimformer.tasks.task import load_task, load_validation, with_label_order

Write = Callable[[str, str], Path]


def rows(*pairs: tuple[str, object]) -> str:
    return "".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in pairs)


def notes(kind: str, labels: list[object], names: tuple[str, ...], texts: list[object] | None = None) -> list[str]:
    task = Task("toy", kind, names, KINDS[kind].metrics(names), "here")  # type: ignore[arg-type, index]
    return data_notes(task, Examples(texts or [f"text {i}" for i in range(len(labels))], None, labels))


def test_texts_in_both_parts_and_equal_texts_with_different_labels_are_counted(write: Write) -> None:
    own = [(f"text {i}", "ab"[i % 2]) for i in range(20)]
    write("train.jsonl", rows(*own, ("text 0", "b"), ("text 1", "b")))
    folder = write("validation.jsonl", rows(("text 3", "a"), ("text 3", "a"), ("new", "b"))).parent
    data = load_task(TaskSettings(data=str(folder)))
    both, torn = data.notes
    assert both.startswith("2 of 3 validation texts occur in train too")
    assert torn.startswith("1 texts occur in train more than once with different labels")
    assert with_label_order(data, ["b", "a"]).notes == data.notes


def test_rows_without_doubts_have_no_notes(write: Write) -> None:
    data = load_task(TaskSettings(data=str(write("t.jsonl", rows(*((f"text {i}", "ab"[i % 2]) for i in range(40)))))))
    assert data.notes == ()


def test_doubled_texts_are_not_on_both_sides_of_a_split_of_one_file(write: Write) -> None:
    path = write("t.jsonl", rows(*((f"text {i % 40}", "ab"[i % 2]) for i in range(80))))
    data = load_task(TaskSettings(data=str(path)))
    assert data.notes == ()
    sides = [set(part.texts) for part in (data.train, data.selection, data.validation)]
    assert sum(map(len, sides)) == len(set.union(*sides)) == 40


def test_empty_label_lists_are_counted() -> None:
    (note,) = notes("multilabel", [(0, 1), (), ()], ("a", "b"))
    assert note == "2 of 3 validation texts have no label at all."


def test_a_separator_that_never_occurs(write: Write) -> None:
    joined = write("t.csv", "text,label\n" + "".join(f"t{i},{('a; b', 'a', 'b')[i % 3]}\n" for i in range(30)))
    (note,) = load_task(TaskSettings(data=str(joined))).notes
    assert note.startswith("1 labels look like several in one, such as 'a; b'")
    assert "--kind multilabel" in note
    (note,) = load_task(TaskSettings(data=str(joined), kind="multilabel")).notes
    assert note.startswith("No row has more than one label, and 'a; b' is read as one")


@pytest.mark.parametrize("names", [("Smith, Ann", "Smith, Jo"), ("art", "science, nature"), ("a", "b")])
def test_names_that_hold_commas_are_not_doubted(names: tuple[str, ...]) -> None:
    assert notes("classification", [0, 1], names) == []


def test_tags_of_no_known_scheme_are_said_to_be_words() -> None:
    words = [("x", "y")]
    for tags in (("O", "M-X"), ("o", "b-x")):
        assert "words are scored and no entities" in notes("tokens", [(0, 1)], tags, words)[0]
    assert notes("tokens", [(0, 1)], ("NN", "O"), words) == notes("tokens", [(0, 1)], ("O", "B-X"), words) == []


@pytest.mark.parametrize("name", ["nan", "None", "<NA>"])
def test_labels_that_may_stand_for_none_are_counted_by_every_reader(write: Write, name: str) -> None:
    said = f"have the label '{name}', which is read as a class: if it stands for a label that is missing, remove it."
    csv = write("t.csv", "text,label\n" + "".join(f"t{i},{('a', 'b', name)[i % 3]}\n" for i in range(60)))
    assert sum(note.endswith(said) for note in load_task(TaskSettings(data=str(csv))).notes) == 2  # train, validation
    lists = write("t.jsonl", rows(*((f"t{i}", [["a"], ["b", name]][i % 2]) for i in range(20))))
    task, examples = load_validation(TaskSettings(validation=str(lists)))
    assert data_notes(task, examples) == [f"10 of 20 validation texts {said}"]
    words = write("t.conll", f"good a\nbad {name}\n\nfilm a\n")
    task, examples = load_validation(TaskSettings(validation=str(words)))
    assert data_notes(task, examples) == [f"1 of 2 validation sentences {said}"]


def test_one_class_in_two_unicode_forms_is_one(write: Write) -> None:
    for name, text in (
        ("t.csv", "text,label\na,caf\u00e9\nb,cafe\u0301\nc,th\u00e9\n"),
        ("t.conll", "a caf\u00e9\nb cafe\u0301\nc th\u00e9\n"),
    ):
        task, _ = load_validation(TaskSettings(validation=str(write(name, text))))
        assert task.labels == ("caf\u00e9", "th\u00e9")
