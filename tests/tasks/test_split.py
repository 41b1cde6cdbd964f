import pytest

from trimformer.errors import TrimformerError
from trimformer.tasks.data import Examples
from trimformer.tasks.kinds import KINDS
from trimformer.tasks.split import held_rows, split


def examples(labels: list[int]) -> Examples:
    return Examples([f"text {i}" for i in range(len(labels))], None, labels)


def test_stratified_disjoint_and_seeded() -> None:
    whole = examples([0] * 80 + [1] * 20)
    rest, held = split(whole, 15, keep="shares", seed=0)
    assert (held.labels.count(0), held.labels.count(1)) == (12, 3)
    assert sorted(rest.texts + held.texts) == sorted(whole.texts)
    assert split(whole, 15, keep="shares", seed=0)[1] == held
    assert split(whole, 15, keep="shares", seed=1)[1] != held


def test_a_class_of_one_stays_in_train() -> None:
    rest, held = split(examples([0] * 10 + [1]), 5, keep="shares", seed=0)
    assert 1 in rest.labels
    assert 1 not in held.labels


def test_pairs_follow_their_rows() -> None:
    whole = Examples(list("abcdefghij"), list("ABCDEFGHIJ"), [i / 10 for i in range(10)])
    rest, held = split(whole, 3, seed=0)
    assert (len(rest), len(held)) == (7, 3)
    assert held.pairs == [text.upper() for text in held.texts]


def test_questions_on_one_context_stay_together() -> None:
    contexts = [f"context {i // 3}" for i in range(30)]
    whole = Examples([f"question {i}" for i in range(30)], contexts, [()] * 30)
    rest, held = split(whole, 7, keep="contexts", seed=0)
    assert not set(rest.pairs or []) & set(held.pairs or [])
    assert (len(rest), len(held)) == (24, 6)  # a third context would be more than 7 questions
    assert split(whole, 7, keep="contexts", seed=1)[1] != held
    rest, held = split(whole, 99, keep="contexts", seed=0)
    assert len(rest) == 3  # one context is always left to train on
    rest, held = split(Examples(list("abcdefghij"), ["c"] * 10, [()] * 10), 4, keep="contexts", seed=0)
    assert (len(rest), len(held)) == (6, 4)


def test_a_group_stays_together_whatever_its_labels() -> None:
    whole = Examples([f"t{i}" for i in range(30)], None, [i % 2 for i in range(30)], [f"g{i % 10}" for i in range(30)])
    keep = KINDS["classification"].keep(whole)
    assert (keep, KINDS["spans"].keep(whole)) == ("groups", "groups")
    assert KINDS["classification"].keep(examples([0, 1])) == "shares"
    rest, held = split(whole, 8, seed=0, keep=keep)
    assert (len(rest), len(held)) == (24, 6)
    assert not set(rest.groups or []) & set(held.groups or [])


def test_a_large_context_does_not_take_everything() -> None:
    contexts = ["large"] * 90 + ["small"] * 10
    whole = Examples([f"question {i}" for i in range(100)], contexts, [()] * 100)
    for seed in range(4):
        rest, held = split(whole, 15, seed, keep="contexts")
        assert (len(rest), len(held)) == (90, 10)


def test_too_few_rows() -> None:
    with pytest.raises(TrimformerError, match="Only 9 training rows are left to split, and at least 10"):
        split(examples([0, 1, 0, 1, 0, 1, 0, 1, 0]), 2, keep="shares", seed=0)


def test_held_rows() -> None:
    assert [held_rows(rows, 0.15) for rows in (10, 1000, 100_000)] == [2, 150, 4000]
