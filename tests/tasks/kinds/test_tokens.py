"""Tags of words: decoding, scores."""

import random

import numpy as np
import pytest
import seqeval.metrics
from transformers import PreTrainedTokenizerFast

from tests.tasks.helpers import sentences
from trimformer.measure.significance import paired_bootstrap
from trimformer.tasks.data import Examples, Task
from trimformer.tasks.encoding.encoded import Encoded
from trimformer.tasks.encoding.word_pieces import tokenise
from trimformer.tasks.kinds import KINDS
from trimformer.tasks.kinds.tokens import counts, tags
from trimformer.tasks.sources.tag_labels import label_names

KIND = KINDS["tokens"]
SPAN_METRICS = ("f1", "precision", "recall", "accuracy")


def test_tags_are_read_at_first_pieces(pieces: PreTrainedTokenizerFast) -> None:
    examples = sentences("unable so no no", "\x07 so")
    arrays = tokenise(examples, pieces, 5)
    data = Encoded.from_arrays(arrays, KIND.labels(task("X"), arrays, examples), 0, "tokens", examples)
    assert data.ids.tolist() == [2, 5, 6, 9, 3, 2, 9, 3]
    logits = np.eye(8)[[7, 1, 7, 2, 7, 7, 3, 7]]
    first, second = tags(data, logits)
    assert (first.tolist(), second.tolist()) == ([1, 2, -1, -1], [-1, 3])


def task(*tags: str) -> Task:
    labels = label_names(tags)
    return Task("test", "tokens", labels, KIND.metrics(labels), "")


def score(task: Task, truth: list[str], guess: list[str]) -> tuple[np.ndarray, dict[str, float]]:
    """Counts and scores of tags that are written with spaces; '?' is a word without a prediction."""
    ids = {label: i for i, label in enumerate(task.labels)} | {"?": -1}
    rows = [[ids[tag] for tag in tags.split()] for tags in truth]
    examples = Examples([("w",) * len(row) for row in rows], None, [tuple(row) for row in rows])
    none = np.zeros(0, dtype=np.int64)
    data = Encoded(none, None, np.zeros(len(rows) + 1, dtype=np.int64), none, 0, 0, "tokens", examples, words=none)
    found = counts(task, data, [np.array([ids[tag] for tag in tags.split()]) for tags in guess])
    return found, KIND.scores(task, found, np.zeros(len(found)))


@pytest.mark.parametrize(
    ("truth", "guess", "want"),
    [
        ("B-A I-A O B-B", "B-A I-A O B-B", [4, 4, 2, 2, 2]),
        # Another type, another end, another beginning: none is right.
        ("B-A I-A O O B-B", "B-B I-B O O B-B", [3, 5, 1, 2, 2]),
        ("B-A I-A O", "B-A O O", [2, 3, 0, 1, 1]),
        ("O B-A I-A", "O O B-A", [1, 3, 0, 1, 1]),
        # Adjacent spans of one type are two.
        ("B-A B-A", "B-A I-A", [1, 2, 0, 1, 2]),
        ("B-A B-A", "B-A B-A", [2, 2, 2, 2, 2]),
        # What is not well formed: I after O opens a span, I of another type opens one inside.
        ("O B-A I-A", "O I-A I-A", [2, 3, 1, 1, 1]),
        ("B-A B-B I-B", "B-A I-B I-B", [2, 3, 2, 2, 2]),
        ("B-A I-A", "B-A I-B", [1, 2, 0, 2, 1]),
        # Types with a dash.
        ("B-A-1 I-A-1 B-A-2", "B-A-1 I-A-1 I-A-2", [2, 3, 2, 2, 2]),
        ("B-A-1 I-A-1", "B-A-2 I-A-2", [0, 2, 0, 1, 1]),
        # Words without prediction end a span.
        ("B-A I-A O", "B-A ? ?", [1, 3, 0, 1, 1]),
        ("O", "?", [0, 1, 0, 0, 0]),
    ],
)
def test_counts_as_conlleval(truth: str, guess: str, want: list[int]) -> None:
    found, _ = score(task("O", *truth.split(), "B-B", "B-A-2"), [truth], [guess])
    assert found.tolist() == [want]


@pytest.mark.parametrize("marks", ["ES", "LU"])
def test_bioes_and_bilou_are_scored_as_entities(marks: str) -> None:
    end, single = marks
    known = task("O", "B-A", f"{single}-A")
    assert known.labels == ("O", *(f"{mark}-A" for mark in sorted(f"BI{marks}")))
    assert known.metrics == SPAN_METRICS
    truth = f"B-A I-A {end}-A O {single}-A {single}-A"
    assert score(known, [truth], [truth])[0].tolist() == [[6, 6, 3, 3, 3]]
    assert score(known, [truth], [f"B-A {end}-A O O {single}-A ?"])[0].tolist() == [[3, 6, 1, 2, 3]]


def test_scores_are_those_of_seqeval() -> None:
    """Sequences at random, mostly not well formed, compared with the library's own scores over all of them."""
    draw = random.Random(0)
    labels = ["O", "B-A", "I-A", "B-A-B", "I-A-B"]
    truth = [draw.choices(labels, k=draw.randint(1, 12)) for _ in range(300)]
    guess = [[tag if draw.random() < 0.7 else draw.choice(labels) for tag in tags] for tags in truth]
    found, scores = score(task(*labels), [" ".join(tags) for tags in truth], [" ".join(tags) for tags in guess])
    assert tuple(scores) == SPAN_METRICS
    want = {
        "f1": seqeval.metrics.f1_score(truth, guess),
        "precision": seqeval.metrics.precision_score(truth, guess),
        "recall": seqeval.metrics.recall_score(truth, guess),
        "accuracy": seqeval.metrics.accuracy_score(truth, guess),
    }
    assert scores == pytest.approx(want, abs=1e-12)
    assert 0.5 < scores["f1"] < 0.9
    first = KIND.metric(task(*labels))
    assert first(found, np.zeros(len(found))) == scores["f1"]
    assert first(found[[3, 3, 5]], np.zeros(3)) == KIND.scores(task(*labels), found[[3, 3, 5]], np.zeros(3))["f1"]
    better = found.copy()
    better[:, 2] = better[:, 4]
    better[:, 3] = better[:, 4]
    assert paired_bootstrap(first, found, better, np.zeros(len(found)), resamples=50).low > 0


def test_plain_tags_have_accuracy_alone() -> None:
    found, scores = score(task("NN", "VB"), ["NN VB", "VB"], ["NN NN", "?"])
    assert (found.tolist(), scores) == ([[1, 2, 0, 0, 0], [0, 1, 0, 0, 0]], {"accuracy": 1 / 3})


def test_no_entity_at_all_scores_zero() -> None:
    assert score(task("O", "B-A"), ["O O"], ["O O"])[1] == {"f1": 0.0, "precision": 0.0, "recall": 0.0, "accuracy": 1.0}


def test_labels_of_a_model_that_are_no_tags_are_outside() -> None:
    """Some models have a label such as X for word pieces."""
    with_x = Task("test", "tokens", ("X", "O", "B-A", "I-A"), SPAN_METRICS, "")
    assert score(with_x, ["B-A I-A O"], ["B-A I-A X"])[0].tolist() == [[2, 3, 1, 1, 1]]
