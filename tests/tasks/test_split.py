from typing import Literal

import pytest

from trimformer.errors import TrimformerError
from trimformer.tasks.data import Examples
from trimformer.tasks.kinds import KINDS
from trimformer.tasks.split import held_rows, sample, split


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


def in_both(one: Examples, other: Examples) -> set[object]:
    return set(one.keys()) & set(other.keys())


@pytest.mark.parametrize("keep", ["shares", None])
def test_equal_texts_are_in_one_part(keep: Literal["shares"] | None) -> None:
    labels = [i % 2 for i in range(100)]
    whole = Examples([f"text {i}" for i in range(100)] * 2, None, labels * 2)
    for seed in range(5):
        rest, held = split(whole, 30, seed, keep=keep)
        assert not in_both(rest, held)
        assert len(rest) + len(held) == 200
        assert 28 <= len(held) <= 30
        if keep:
            assert abs(held.labels.count(0) - held.labels.count(1)) <= 2
    assert split(whole, 30, 0, keep=keep)[1] == split(whole, 30, 0, keep=keep)[1]


def test_pairs_are_equal_where_both_texts_are() -> None:
    whole = Examples(["q"] * 20, [f"context {i // 2}" for i in range(20)], [i // 2 % 2 for i in range(20)])
    rest, held = split(whole, 6, 0, keep="shares")
    assert not in_both(rest, held)
    assert 4 <= len(held) <= 6


def test_a_frequent_text_stays_in_train_and_so_does_one_of_several_classes() -> None:
    whole = Examples(["ok"] * 60 + ["so so"] * 2 + [f"text {i}" for i in range(40)], None, [0] * 60 + [0, 2] + [1] * 40)
    for seed in range(5):
        rest, held = split(whole, 15, seed, keep="shares")
        assert rest.texts.count("ok") == 60
        assert rest.texts.count("so so") == 2
        assert len(held) == 6  # of the other class as many as before


def test_without_doubled_texts_the_split_is_that_of_the_draws() -> None:
    """The rows that earlier releases held out, bit for bit."""
    whole = examples([0] * 30 + [1] * 10)
    for keep, rows in ("shares", [3, 12, 20, 23, 26, 27, 32, 34]), (None, [2, 11, 17, 20, 23, 30, 32, 33]):
        assert split(whole, 8, 3, keep=keep)[1].texts == [f"text {i}" for i in rows]  # type: ignore[arg-type]


def test_rows_that_are_all_one_text_are_split_all_the_same() -> None:
    rest, held = split(Examples(["ok"] * 20, None, [0, 1] * 10), 4, 0, keep="shares")
    assert (len(rest), len(held)) == (16, 4)


def test_a_sample_takes_equal_texts_one_by_one() -> None:
    whole = Examples(["ok"] * 60 + [f"text {i}" for i in range(40)], None, [0] * 60 + [1] * 40)
    few = sample(whole, 50, 0, keep="shares")
    assert (len(few), few.labels.count(0)) == (50, 30)


def test_a_single_group_is_not_torn() -> None:
    whole = Examples([f"t{i}" for i in range(30)], None, [i % 2 for i in range(30)], ["author"] * 30)
    with pytest.raises(TrimformerError, match=r"The 30 rows .* belong to one group \(author\), which must not be torn"):
        split(whole, 8, seed=0, keep="groups")


def test_classes_of_one_row_each_leave_nothing_to_hold_out() -> None:
    with pytest.raises(TrimformerError, match="each of the 20 classes has a single row"):
        split(examples(list(range(20))), 5, seed=0, keep="shares")


def test_texts_that_differ_in_blanks_at_their_ends_are_equal() -> None:
    texts = [f"t{i}" for i in range(20)]
    whole = Examples([*texts, *(f"{text} " for text in texts)], None, [i % 2 for i in range(40)])
    rest, held = split(whole, 8, seed=0, keep="shares")
    assert not {text.strip() for text in rest.texts} & {text.strip() for text in held.texts}
