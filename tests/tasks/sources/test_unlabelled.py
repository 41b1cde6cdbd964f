"""Files of texts alone."""

import json

import pytest

from trimformer import TrimformerError
from trimformer.tasks.settings import TaskSettings
from trimformer.tasks.sources.unlabelled import labelled_validation, load, texts_alone
from trimformer.tasks.task import UNLABELLED_ROWS, load_task, load_texts, load_validation


def jsonl(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def plain(path, *lines):
    path.write_text("".join(f"{line}\n" for line in lines))
    return str(path)


@pytest.mark.parametrize(
    ("name", "text", "more", "alone"),
    [
        ("a.txt", "one\ntwo\n", {}, True),
        ("a.csv", "text\none\n", {}, True),
        ("a.csv", "review\none\n", {"text": "review"}, True),
        ("a.csv", "review,other\none,two\n", {"text": "review", "text_pair": "other"}, True),
        ("a.csv", "text,author\none,x\n", {"group": "author"}, True),
        ("a.jsonl", '{"tokens": ["a"]}\n', {}, True),
        ("a.jsonl", '{"question": "a", "context": "b"}\n', {}, True),
        ("a.csv", "text,label\none,x\n", {}, False),
        ("a.csv", "text,stars\none,x\n", {}, False),  # it may be the label
        ("a.csv", "text,stars\none,x\n", {"pseudo_labels": True}, True),
        ("a.csv", "text\none\n", {"label": "stars"}, False),
        ("a.csv", "review,text\none,x\n", {"text": "review"}, False),
        ("a.json", '{"data": [{"paragraphs": []}]}', {}, False),
        ("a.conll", "a O\n", {}, False),
        ("a.odd", "a", {}, False),
    ],
)
def test_a_file_has_texts_alone_where_no_other_column_may_be_the_label(tmp_path, name, text, more, alone):
    (tmp_path / name).write_text(text)
    assert texts_alone(TaskSettings(train=str(tmp_path / name), **more)) == alone


def test_named_tasks_and_validation_files_alone_have_labels(tmp_path):
    assert not texts_alone(TaskSettings(name="sentiment"))
    assert not texts_alone(TaskSettings(validation=plain(tmp_path / "v.txt", "a")))


def test_a_line_is_a_text_and_a_blank_one_is_none(tmp_path):
    path = plain(tmp_path / "a.txt", "one text", "", "  another, one ", "the\tthird")
    task, train, validation = load(TaskSettings(train=path), "classification", ("a", "b"))
    assert train.texts == ["one text", "another, one", "the\tthird"]
    assert (train.labels, train.pairs, validation) == ([], None, None)
    assert (task.labels, task.metrics[0], task.pseudo_labels) == (("a", "b"), "accuracy", True)
    assert "own answers" in task.source


def test_a_folder_may_hold_them_where_it_holds_no_table(tmp_path):
    plain(tmp_path / "train.txt", "a", "b")
    plain(tmp_path / "validation.txt", "c")
    _, train, validation = load(TaskSettings(data=str(tmp_path)), "multilabel", ("a", "b"))
    assert (train.texts, validation.texts) == (["a", "b"], ["c"])
    (tmp_path / "train.csv").write_text("text,label\na,b\n")
    assert not texts_alone(TaskSettings(data=str(tmp_path)))


def test_words_are_lists_or_divided_at_white_space(tmp_path):
    path = jsonl(tmp_path / "a.jsonl", {"tokens": ["New York", "is"]}, {"tokens": "New York is"})
    _, train, _ = load(TaskSettings(train=path), "tokens", ("O", "B-X"))
    assert train.texts == [("New York", "is"), ("New", "York", "is")]
    _, train, _ = load(TaskSettings(train=plain(tmp_path / "a.txt", "New York")), "tokens", ("O",))
    assert train.texts == [("New", "York")]
    path = jsonl(tmp_path / "b.jsonl", {"tokens": ["a"]}, {"tokens": []})
    with pytest.raises(TrimformerError, match=r"In line 2 of .*b\.jsonl, the column 'tokens' holds no words"):
        load(TaskSettings(train=path), "tokens", ("O",))


def test_questions_have_their_contexts_and_couples_their_second_text(tmp_path):
    path = jsonl(tmp_path / "a.jsonl", {"question": "who", "context": "Ann"})
    task, train, _ = load(TaskSettings(train=path), "spans", ())
    assert (train.texts, train.pairs, task.metrics[0]) == (["who"], ["Ann"], "f1")
    path = jsonl(tmp_path / "b.jsonl", {"text": "one", "other": "two"})
    _, train, _ = load(TaskSettings(train=path, text_pair="other"), "classification", ("a", "b"))
    assert (train.texts, train.pairs) == (["one"], ["two"])


def test_labels_of_a_validation_file_are_read_unless_the_settings_leave_them(tmp_path):
    train = plain(tmp_path / "t.txt", "a", "b")
    (tmp_path / "v.csv").write_text("text,stars\na,1\n")
    settings = TaskSettings(train=train, validation=str(tmp_path / "v.csv"))
    assert load(settings, "classification", ("a", "b"))[2] is None
    assert labelled_validation(settings) == tmp_path / "v.csv"
    with pytest.raises(TrimformerError, match=r"v\.csv has no column 'label'"):
        load_texts(settings, "classification", ("a", "b"))
    assert load(settings.model_copy(update={"pseudo_labels": True}), "classification", ("a", "b"))[2].texts == ["a"]
    named = TaskSettings(train=train, label="stars", pseudo_labels=True)
    with pytest.raises(TrimformerError, match=r"task\.label names the column 'stars'"):
        load(named, "classification", ("a", "b"))


def test_settings_that_are_not_the_models_kind_are_refused(tmp_path):
    train = plain(tmp_path / "t.txt", "a", "b")
    with pytest.raises(TrimformerError, match=r"The model's head is for classification, and task\.kind is tokens"):
        load(TaskSettings(train=train, kind="tokens"), "classification", ("a", "b"))
    with pytest.raises(TrimformerError, match=r"task\.scheme has no meaning for classification"):
        load(TaskSettings(train=train, scheme="iob2"), "classification", ("a", "b"))


def test_who_reads_labels_refuses_to_leave_them_unread(tmp_path):
    settings = TaskSettings(train=plain(tmp_path / "t.txt", "a"), pseudo_labels=True)
    for read in (load_task, load_validation):
        with pytest.raises(TrimformerError, match=r"task\.pseudo_labels takes the dense model's own answers"):
            read(settings)
    with pytest.raises(TrimformerError, match=r"task\.pseudo_labels has no meaning for sentiment"):
        load_task(TaskSettings(name="sentiment", pseudo_labels=True))


def test_rows_are_drawn_as_usual_and_of_training_rows_no_more_than_are_of_use(tmp_path):
    texts = [f"text {i}" for i in range(6000)]
    settings = TaskSettings(train=plain(tmp_path / "t.txt", *texts))
    data = load_texts(settings, "classification", ("a", "b"), seed=1)
    assert (len(data.validation), len(data.selection), len(data.train)) == (900, 765, 4335)
    data = load_texts(settings, "classification", ("a", "b"), seed=1, learns=False)
    assert (len(data.validation), len(data.selection), len(data.train)) == (900, 765, UNLABELLED_ROWS)
    assert "335 training texts were left out" in data.notes[0]
    assert len({*data.train.texts, *data.selection.texts, *data.validation.texts}) == 900 + 765 + UNLABELLED_ROWS
    again = load_texts(settings, "classification", ("a", "b"), seed=2)
    assert again.validation.texts == data.validation.texts
    assert again.selection.texts != data.selection.texts
    few = load_texts(settings.model_copy(update={"train_limit": 100}), "classification", ("a", "b"))
    assert (len(few.train) + len(few.selection), few.notes) == (100, ())


def test_rows_of_a_validation_file_are_not_learned_from(tmp_path):
    texts = plain(tmp_path / "t.txt", *(f"text {i}" for i in range(40)))
    table = jsonl(tmp_path / "v.jsonl", *({"text": f" text {i}", "label": "ab"[i % 2]} for i in range(36, 44)))
    alone = plain(tmp_path / "v.txt", *(f"text {i}" for i in range(36, 44)))
    for held in (table, alone):
        data = load_texts(TaskSettings(texts=[texts], validation=held), "classification", ("a", "b"))
        learned = {*data.train.texts, *data.selection.texts}
        assert learned == {f"text {i}" for i in range(36)}
        assert len(data.validation) == 8
        assert data.notes == ("4 of 40 training texts were left out, which are validation texts, too.",)
    with pytest.raises(TrimformerError, match="All 40 training texts are validation texts, too, so that there is noth"):
        load_texts(TaskSettings(texts=[texts], validation=texts), "classification", ("a", "b"))
