"""How a checkpoint's head meets the labels of the data."""

import pytest

from tests.models import tiny
from trimformer import TrimformerForSequenceClassification, TrimformerForTokenClassification
from trimformer.encoder.checkpoints.load import Checkpoint, with_labels
from trimformer.pipeline.head import match_head
from trimformer.tasks.data import Examples, Task, TaskData


def checkpoint(names, has_head=True):
    kind = "classification" if len(names) > 1 else "regression"
    head = TrimformerForSequenceClassification if has_head else None
    return Checkpoint(with_labels(tiny().config, names, kind), {}, head, "here")


def data(labels):
    rows = Examples(["x", "y"], None, [0, 1])
    kind = "classification" if labels else "regression"
    return TaskData(Task("toy", kind, tuple(labels), ("accuracy",), "test"), rows, rows, rows)


def test_a_bare_body_has_no_head_to_match():
    _, _, trained, notes = match_head(checkpoint(["a", "b"], has_head=False), data(["a", "b"]))
    assert (trained, notes) == (False, [])


def test_the_data_follow_the_label_order_of_the_head():
    _, matched, trained, _ = match_head(checkpoint(["b", "a"]), data(["a", "b"]))
    assert trained
    assert matched.train.labels == [1, 0]


def test_a_head_without_names_takes_those_of_the_data_and_says_so():
    named, matched, trained, notes = match_head(checkpoint(["LABEL_0", "LABEL_1"]), data(["neg", "pos"]))
    assert trained
    assert named.config.label_names == ["neg", "pos"]
    assert matched.train.labels == [0, 1]
    assert "neg, pos, in order" in notes[0]


def test_not_all_classes_of_a_head_need_occur():
    _, matched, trained, notes = match_head(checkpoint(["bad", "mid", "Fine"]), data(["bad", "fine"]))
    assert (trained, notes, matched.train.labels) == (True, [], [0, 2])


@pytest.mark.parametrize(
    ("head", "labels"), [(["a", "b"], ["a", "c"]), (["a", "b", "c"], ["a", "d"]), (["a", "b"], [])]
)
def test_another_head_is_replaced_and_the_note_says_so(head, labels):
    _, _, trained, notes = match_head(checkpoint(head), data(labels))
    assert not trained
    assert "the head was replaced" in notes[0]


@pytest.mark.parametrize("names", [["0", "1", "2"], ["neg", "neu", "pos"], ["LABEL_0", "LABEL_1", "LABEL_2"]])
def test_ids_of_which_one_does_not_occur_match_those_of_the_head(names):
    named, matched, trained, notes = match_head(checkpoint(names), data(["0", "2"]))
    assert trained
    assert matched.train.labels == [0, 2]
    assert tuple(named.config.label_names) == matched.task.labels
    assert len(matched.task.labels) == 3
    assert bool(notes) == (names[0] == "LABEL_0")


def test_ids_that_need_not_be_those_of_the_head_replace_it():
    assert not match_head(checkpoint(["neg", "neu", "pos"]), data(["0", "1"]))[2]
    assert match_head(checkpoint(["0", "1", "2"]), data(["0", "1"]))[2]


def test_a_head_whose_names_are_those_of_the_data_is_matched_by_name_even_if_they_look_like_none():
    names = [f"LABEL_{i}" for i in range(12)]
    rows = Examples(["x"] * 12, None, list(range(12)))
    task = Task("toy", "classification", tuple(sorted(names)), ("accuracy",), "test")
    named, matched, trained, _ = match_head(checkpoint(names), TaskData(task, rows, rows, rows))
    assert trained
    assert named.config.label_names == names
    assert matched.train.labels == [names.index(name) for name in sorted(names)]


def tagger(names):
    return Checkpoint(with_labels(tiny().config, names, "tokens"), {}, TrimformerForTokenClassification, "here")


@pytest.mark.parametrize("names", [["B-X", "O"], ["I-Y", "O", "B-X", "I-X", "B-Y"]])
def test_a_tagger_may_know_fewer_or_more_tags_than_those_that_could_occur(names):
    rows = Examples([("x", "y")] * 2, None, [(0, 1), (1, 0)])
    task = Task("toy", "tokens", ("O", "B-X", "I-X"), ("f1",), "test")
    _, matched, trained, _ = match_head(tagger(names), TaskData(task, rows, rows, rows))
    assert trained
    outside, begin = names.index("O"), names.index("B-X")
    assert matched.train.labels == [(outside, begin), (begin, outside)]


def test_the_order_of_nameless_tags_is_not_guessed():
    rows = Examples([("x", "y")] * 2, None, [(0, 1), (1, 0)])
    task = Task("toy", "tokens", ("O", "B-X", "I-X"), ("f1",), "test")
    _, _, trained, notes = match_head(tagger(["LABEL_0", "LABEL_1", "LABEL_2"]), TaskData(task, rows, rows, rows))
    assert not trained
    assert "the head was replaced" in notes[0]
