"""Texts without labels beside labelled rows."""

import json

import pytest

from trimformer import TrimformerError
from trimformer.tasks.settings import TaskSettings
from trimformer.tasks.sources.unlabelled import texts_alone
from trimformer.tasks.task import load_task


def lines(path, *texts):
    path.write_text("".join(f"{text}\n" for text in texts))
    return str(path)


def table(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def labelled(tmp_path, **more):
    rows = [{"review": f"text {i}", "second": f"more {i}", "label": "ab"[i % 2], "by": f"{i}"} for i in range(40)]
    return {"train": table(tmp_path / "train.jsonl", *rows), "text": "review", **more}


def loaded(settings, **more):
    return load_task(TaskSettings(**settings), distils=True, **more)


def test_they_stand_beside_the_labelled_rows_each_once_and_none_that_is_held_out(tmp_path):
    first = lines(tmp_path / "a.txt", "new one", "text 3", "new two", "new one")
    second = table(tmp_path / "b.jsonl", {"review": "new three", "label": "b"}, {"review": " text 4 ", "label": "a"})
    given = labelled(tmp_path)
    data, plain = loaded(given | {"texts": [first, second]}), loaded(given)
    assert data.unlabelled.texts == ["new one", "new two", "new three"]
    assert data.unlabelled.labels == [None, None, None]
    assert (data.train, data.selection, data.validation) == (plain.train, plain.selection, plain.validation)
    assert data.notes[-1] == (
        f"3 texts without labels stand beside {len(data.train)} with labels where a stage distils; 3 were left out, "
        "which are in the labelled data or stand there twice."
    )


def test_couples_questions_and_words(tmp_path):
    couples = table(tmp_path / "c.jsonl", {"review": "x", "second": "y"})
    data = loaded(labelled(tmp_path, text_pair="second", texts=[couples]))
    assert (data.unlabelled.texts, data.unlabelled.pairs) == (["x"], ["y"])
    alone = lines(tmp_path / "x.txt", "x")
    with pytest.raises(TrimformerError, match=r"x\.txt has no column 'second': name one of its own \(text\)"):
        loaded(labelled(tmp_path, text_pair="second", texts=[alone]))
    tagged = [{"tokens": ["the", f"w{i}"], "tags": ["O", "B-X"]} for i in range(40)]
    words = {"train": table(tmp_path / "w.jsonl", *tagged), "texts": [lines(tmp_path / "t.txt", "never  again")]}
    assert loaded(words).unlabelled.texts == [("never", "again")]
    asked = [{"question": f"who {i}", "context": f"Ann {i}", "answers": {"text": ["Ann"], "answer_start": [0]}}
             for i in range(40)]  # fmt: skip
    more = table(tmp_path / "q.jsonl", {"question": "who", "context": "Bob"})
    data = loaded({"train": table(tmp_path / "s.jsonl", *asked), "texts": [more]})
    assert (data.unlabelled.texts, data.unlabelled.pairs) == (["who"], ["Bob"])


def test_they_stand_beside_a_named_task_and_beside_groups(tmp_path):
    texts = [lines(tmp_path / "t.txt", "something else")]
    data = loaded({"name": "sentiment", "texts": texts, "train_limit": 100})
    assert (data.unlabelled.texts, len(data.train) + len(data.selection)) == (["something else"], 100)
    assert loaded(labelled(tmp_path, texts=texts, group="by")).unlabelled.texts == ["something else"]


def test_a_training_file_of_texts_alone_takes_more_of_them(tmp_path):
    more = [lines(tmp_path / "m.txt", "more")]
    assert texts_alone(TaskSettings(train=lines(tmp_path / "t.txt", "a text"), texts=more))
    assert texts_alone(TaskSettings(texts=more))
    assert not texts_alone(TaskSettings(**labelled(tmp_path, texts=more)))
    assert not texts_alone(TaskSettings(name="sst2", texts=more))


def test_files_without_a_new_row_are_refused(tmp_path):
    known = lines(tmp_path / "t.txt", "text 1", "text 2")
    with pytest.raises(TrimformerError, match=r"All rows of .*t\.txt are in the labelled data, too.* leave out task"):
        loaded(labelled(tmp_path, texts=[known]))
    (tmp_path / "e.txt").write_text("\n\n")
    with pytest.raises(TrimformerError, match=r"e\.txt"):
        loaded(labelled(tmp_path, texts=[str(tmp_path / "e.txt")]))
    (tmp_path / "b.txt").write_bytes(b"\x00\xff\xfe\x01")
    with pytest.raises(TrimformerError, match=r"b\.txt is not UTF-8"):
        loaded(labelled(tmp_path, texts=[str(tmp_path / "b.txt")]))
    with pytest.raises(TrimformerError, match=r"missing\.txt is not a file"):
        loaded(labelled(tmp_path, texts=[str(tmp_path / "missing.txt")]))


def test_who_does_not_distil_refuses_them(tmp_path):
    settings = TaskSettings(**labelled(tmp_path, texts=[lines(tmp_path / "t.txt", "new")]))
    with pytest.raises(TrimformerError, match=r"task\.texts names rows without labels.* nothing does so here"):
        load_task(settings)
