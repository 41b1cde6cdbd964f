"""Vectors are scored by couples, or by what the teacher finds near a text."""

import json

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from tests.tinymodel import words_tokenizer
from trimformer import TrimformerError
from trimformer.tasks.data import Examples, Task
from trimformer.tasks.encode import encode
from trimformer.tasks.encoding.couples import whole
from trimformer.tasks.kinds import KINDS
from trimformer.tasks.kinds.embedding import neighbours_found
from trimformer.tasks.outcome import outcome
from trimformer.tasks.settings import TaskSettings
from trimformer.tasks.task import load_task, load_validation
from trimformer.training.evaluate import mean_loss

KIND = KINDS["embedding"]
RANDOM = np.random.default_rng(0)


def task(*metrics):
    return Task("custom", "embedding", (), metrics or ("spearman", "pearson"), "")


def encoded(examples, tmp_path, *metrics):
    return encode(task(*metrics), examples, words_tokenizer(), 12, cache=tmp_path)


def couples(tmp_path, scores=(3.0, 1.0, 2.0), *metrics):
    texts = ["good film", "the plot", "a very dull film"]
    return encoded(Examples(texts, ["bright", "music was very bad", "stale"], list(scores)), tmp_path, *metrics)


def test_a_couple_has_a_row_for_each_of_its_texts(tmp_path):
    data = couples(tmp_path)
    assert data.couples
    assert len(data) == 6
    assert data.owners.tolist() == [0, 0, 1, 1, 2, 2]
    assert data.labels.tolist() == [3, 3, 1, 1, 2, 2]
    units = whole(data)
    assert len(units) == 3
    assert units.lengths.tolist() == [4, 6, 6]
    batch = units.batch([2, 0])
    assert batch["labels"].tolist() == [2, 2, 3, 3]
    assert batch["attention_mask"].sum(1).tolist() == [6, 3, 4, 3]


def test_couples_are_scored_by_the_rank_of_their_cosines(tmp_path):
    data, logits = couples(tmp_path), RANDOM.normal(size=(6, 5)).astype(np.float32)
    found = outcome(task("spearman", "pearson", "spearman@2"), data, logits)

    def cosines(size):
        one, other = logits[0::2, :size], logits[1::2, :size]
        return (one * other).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)

    assert found.scores["spearman"] == pytest.approx(spearmanr(cosines(5), [3, 1, 2]).statistic)
    assert found.scores["spearman@2"] == pytest.approx(spearmanr(cosines(2), [3, 1, 2]).statistic)
    assert found.scores["pearson"] == pytest.approx(np.corrcoef(cosines(5), [3, 1, 2])[0, 1])


def test_the_teacher_agrees_with_itself_and_a_stranger_finds_what_chance_finds():
    teacher = RANDOM.normal(size=(301, 20)).astype(np.float32)
    assert (neighbours_found(teacher, teacher) == 1).all()
    assert (neighbours_found(3 * teacher, teacher, block=7) == 1).all()
    stranger = neighbours_found(RANDOM.normal(size=(301, 20)), teacher)
    assert stranger.mean() == pytest.approx(10 / 300, abs=0.02)


def test_neighbours_are_those_of_plain_counting():
    teacher, student = RANDOM.normal(size=(2, 60, 4))
    unit = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (student, teacher)]
    nearest = [np.argsort(-(x @ x.T - 9 * np.eye(60)), axis=1)[:, :10] for x in unit]
    wanted = [len({*ours} & {*theirs}) / 10 for ours, theirs in zip(*nearest, strict=True)]
    assert neighbours_found(student, teacher).tolist() == pytest.approx(wanted)


def test_it_does_not_matter_which_of_equal_texts_is_found():
    teacher = np.repeat(RANDOM.normal(size=(4, 5)), 30, axis=0)
    student = np.repeat(RANDOM.normal(size=(4, 5)), 30, axis=0) + 1e-9 * RANDOM.normal(size=(120, 5))
    assert (neighbours_found(student, teacher) == 1).all()


def test_texts_are_scored_by_the_teachers_vectors(tmp_path):
    teacher = RANDOM.normal(size=(30, 6)).astype(np.float32)
    names = "neighbours", "cosine", "spearman", "neighbours@3"
    data = encoded(Examples(["a film"] * 30, None, list(teacher)), tmp_path, *names)
    assert data.labels.shape == (30, 6)
    assert outcome(task(*names), data, teacher).scores == pytest.approx(dict.fromkeys(names, 1.0))
    worse = outcome(task(*names), data, teacher + 0.5 * RANDOM.normal(size=(30, 6))).scores
    assert all(0 < score < 1 for score in worse.values())
    with pytest.raises(TrimformerError, match="more dimensions than the vectors have"):
        outcome(task("neighbours@9"), data, teacher)


def test_own_answers_are_vectors_of_texts_and_cosines_of_couples(tmp_path):
    logits = RANDOM.normal(size=(6, 5)).astype(np.float32)
    cosines = KIND.pseudo_labels(couples(tmp_path), logits)
    assert cosines == pytest.approx(outcome(task(), couples(tmp_path, cosines), logits).answers[:, 0, 0].tolist())
    alone = encoded(Examples(["a film"] * 6, None, []), tmp_path)
    assert np.array_equal(KIND.pseudo_labels(alone, logits), logits)
    assert KIND.agreement((), alone.examples) == ("neighbours", "cosine")


def test_answers_are_the_same_by_their_cosine(tmp_path):
    exact = RANDOM.normal(size=(6, 5))
    other = exact.copy()
    other[3] = -other[3]
    assert KIND.same(None, exact, other).tolist() == [True, True, True, False, True, True]
    assert KIND.same(couples(tmp_path), exact, other).tolist() == [True, False, True]


def test_the_loss_of_some_rows_takes_whole_couples(tmp_path):
    data = couples(tmp_path)

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.table = torch.nn.Embedding(30, 4)

        def forward(self, input_ids, attention_mask, gates=None, **_):
            return type("Out", (), {"logits": (self.table(input_ids) * attention_mask[..., None]).sum(1)})

    torch.manual_seed(0)
    assert mean_loss(Model(), data, rows=np.array([0])) == 0  # one couple has no order
    assert mean_loss(Model(), data, rows=np.array([0, 3])) > 0


def write_couples(folder):
    rows = [{"one": f"a film {i}", "two": f"the plot {i}", "score": i / 7} for i in range(40)]
    file = folder / "couples.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {"data": str(file), "text": "one", "text_pair": "two", "label": "score"}


def test_couples_of_a_file_are_read_where_the_kind_is_named_or_the_model_says_so(tmp_path):
    given = write_couples(tmp_path)
    named = load_task(TaskSettings(**given, kind="embedding"))
    assert (named.task.kind, named.task.metrics) == ("embedding", ("spearman", "pearson"))
    assert load_task(TaskSettings(**given)).task.kind == "regression"
    assert load_task(TaskSettings(**given).read_for("embedding")).task.kind == "embedding"
    chosen, _ = load_validation(TaskSettings(**given, kind="embedding", metric="spearman@8"))
    assert chosen.metrics == ("spearman@8", "spearman", "pearson")


def test_wrong_couples_and_metrics_are_named(tmp_path):
    given = write_couples(tmp_path)
    del given["text_pair"]
    with pytest.raises(TrimformerError, match="scored on couples of texts"):
        load_task(TaskSettings(**given, kind="embedding"))
    with pytest.raises(TrimformerError, match=r"'f1', which custom \(embedding\) does not have"):
        load_task(TaskSettings(**given, text_pair="two", kind="embedding", metric="f1"))
    with pytest.raises(TrimformerError, match="one text at a time"):
        KIND.examples([("a", "b")])
