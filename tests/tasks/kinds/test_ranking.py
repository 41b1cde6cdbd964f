"""Scores of a reranker: reciprocal ranks by query, accuracy, what is refused."""

import json

import numpy as np
import pytest
import torch

from tests.tinymodel import words_tokenizer
from trimformer import TrimformerError
from trimformer.encoder.model.heads import task_loss
from trimformer.tasks.data import Examples, Task
from trimformer.tasks.encode import encode
from trimformer.tasks.kinds import KINDS
from trimformer.tasks.kinds.ranking import reciprocal_ranks
from trimformer.tasks.outcome import outcome
from trimformer.tasks.settings import TaskSettings
from trimformer.tasks.task import load_task, load_validation
from trimformer.training.distill import logit_loss

QUERIES = ["a", "a", "a", "b", "b", "c", "d", "d"]
RELEVANT = np.array([0, 1, 0, 1, 0, 1, 0, 0], dtype=bool)
SCORES = np.array([3.0, 2.0, 1.0, 0.5, 0.5, 9.0, 1.0, 2.0])


def scored(metrics, labels, scores, queries, groups=None):
    examples = Examples(queries, ["text"] * len(queries), labels, groups)
    task = Task("toy", "ranking", (), metrics, "here")
    data = encode(task, examples, words_tokenizer(), 12)
    return outcome(task, data, np.asarray(scores, dtype=np.float32)[:, None])


def test_the_reciprocal_rank_counts_ties_as_worse_and_leaves_out_what_has_nothing_to_rank():
    ranks, shares = reciprocal_ranks(SCORES, RELEVANT, QUERIES)
    assert (ranks[0], ranks[3]) == (1 / 2, 1 / 2)  # the tie of b is lost
    assert shares.tolist() == [1 / 3, 1 / 3, 1 / 3, 1 / 2, 1 / 2, 0, 0, 0]
    found = scored(("mrr", "accuracy"), RELEVANT.astype(float).tolist(), SCORES, QUERIES)
    assert found.scores == {"mrr": 0.5, "accuracy": 3 / 8}


def test_queries_that_are_drawn_twice_count_twice_and_stay_apart():
    found = scored(("mrr",), [0.0, 1.0, 1.0, 0.0], [2.0, 1.0, 2.0, 1.0], ["a", "a", "b", "b"])
    assert found.metric(found.answers, found.truth) == 0.75
    rows = [0, 1, 0, 1, 2, 3]
    assert found.metric(found.answers[rows], found.truth[rows]) == pytest.approx((0.5 + 0.5 + 1) / 3)
    assert found.groups.tolist() == [0, 0, 1, 1]


def test_a_column_may_name_the_queries():
    found = scored(("mrr",), [0.0, 1.0], [2.0, 1.0], ["who", "who?"], groups=["1", "1"])
    assert found.scores["mrr"] == 0.5


def test_its_loss_is_binary_cross_entropy_and_its_answers_are_probabilities():
    logits, labels = torch.tensor([[0.3], [-2.0]]), torch.tensor([1.0, 0.0])
    both = torch.nn.functional.binary_cross_entropy_with_logits(logits[:, 0], labels)
    torch.testing.assert_close(task_loss("ranking", logits, labels), both)
    first = task_loss("ranking", logits[:1], labels[:1])
    assert task_loss("ranking", logits, torch.tensor([1.0, torch.nan])) == first
    assert logit_loss("ranking", logits, logits, torch.ones(2, 3), 1.0) == 0
    (answer,) = KINDS["ranking"].answers(None, np.array([[0.0]]), ["relevance"])
    assert (answer.label, answer.score, answer.scores) == (None, 0.5, {})


def write(path, label=lambda i: i % 4 == 0):
    rows = [{"q": f"query {i // 4}", "t": f"text {i}", "label": label(i)} for i in range(80)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return TaskSettings(train=str(path), text="q", text_pair="t", kind="ranking")


def test_a_file_of_couples_is_split_query_by_query(tmp_path):
    data = load_task(write(tmp_path / "a.jsonl"))
    assert (data.task.kind, data.task.metrics, data.task.labels) == ("ranking", ("mrr", "accuracy"), ())
    parts = [set(part.texts) for part in (data.train, data.selection, data.validation)]
    assert sum(map(len, parts)) == 20 == len(set.union(*parts))
    assert {len(data.validation) % 4, len(data.selection) % 4} == {0}
    assert set(data.train.labels) == {0.0, 1.0}


def test_what_cannot_be_ranked_is_refused(tmp_path):
    settings = write(tmp_path / "a.jsonl")
    with pytest.raises(TrimformerError, match=r"A reranker scores a text for a query, and only the column 'q' of .*"):
        load_task(settings.model_copy(update={"text_pair": None}))
    with pytest.raises(TrimformerError, match=r"In line 3 of .*, the relevance '2' is not between 0 and 1: divide all"):
        load_task(write(tmp_path / "b.jsonl", label=lambda i: i % 4))
    alone = settings.model_copy(update={"text": "t", "text_pair": "q"})
    with pytest.raises(TrimformerError, match=r"No query of the training rows has both relevant and other texts"):
        load_task(alone)
    assert load_task(alone.model_copy(update={"metric": "accuracy"})).task.metrics[0] == "accuracy"
    with pytest.raises(TrimformerError, match="ranking, which has one score for a row, and the model has 2 classes"):
        load_validation(settings.model_copy(update={"train": None, "validation": settings.train}), ["no", "yes"])
