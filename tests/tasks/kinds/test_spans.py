"""Decoding of start and end scores, and the published way to score answers."""

import numpy as np
import pytest

from trimformer.tasks.data import Examples, GoldAnswer, Task
from trimformer.tasks.encoding.encoded import Encoded
from trimformer.tasks.kinds import KINDS
from trimformer.tasks.kinds.spans import best_span, best_texts, counts

KIND = KINDS["spans"]
TASK = Task("squad", "spans", (), ("f1", "exact_match"), "test")


def windows(examples: Examples, owners: list[int], chars: list[list[tuple[int, int]]]) -> Encoded:
    """Rows with a first and a last token outside the context."""
    rows = [np.array([(-1, -1), *row, (-1, -1)], dtype=np.int32) for row in chars]
    offsets = np.cumsum([0, *map(len, rows)])
    ids, labels = np.zeros(offsets[-1], dtype=np.int32), np.zeros((len(rows), 2), dtype=np.int64)
    where = {"owners": np.array(owners), "chars": np.concatenate(rows)}
    return Encoded(ids, None, offsets, labels, 0, 0, "spans", examples, **where)


def scored(predicted: str, *right: str) -> list[float]:
    """Exact match and F1 of one prediction."""
    examples = Examples(["q"], ["c"], [tuple(GoldAnswer(text, 0) for text in right)])
    return counts(windows(examples, [0], [[(0, 1)]]), [predicted])[0].tolist()


def brute_force(
    start: np.ndarray, end: np.ndarray, chars: np.ndarray, n_best: int, max_tokens: int
) -> tuple[float, int, int] | None:
    inside = [i for i in range(len(start)) if chars[i, 0] >= 0]
    starts = sorted(inside, key=lambda i: -start[i])[:n_best]
    ends = sorted(inside, key=lambda i: -end[i])[:n_best]
    found = [(start[i] + end[j], i, j) for i in starts for j in ends if i <= j < i + max_tokens]
    if not found:
        return None
    score, i, j = max(found)
    return score, chars[i, 0], chars[j, 1]


def test_best_span_is_that_of_a_full_search() -> None:
    rng = np.random.default_rng(0)
    nothing = 0
    for _ in range(300):
        tokens = int(rng.integers(1, 40))
        chars = np.stack([np.arange(tokens) * 3, np.arange(tokens) * 3 + 2], axis=1)
        outside = rng.integers(tokens + 1)
        chars[:outside] = chars[tokens - rng.integers(2) :] = -1
        start, end = rng.normal(size=(2, tokens))
        start[: outside + 1] += 4  # the best start lies outside the context
        n_best, max_tokens = int(rng.integers(1, 8)), int(rng.integers(1, 8))
        found = best_span(start, end, chars, n_best, max_tokens)
        assert found == brute_force(start, end, chars, n_best, max_tokens)
        nothing += found is None
    assert 0 < nothing < 200


def test_of_equals_the_first() -> None:
    chars = np.array([[-1, -1], [0, 1], [2, 3]])
    assert best_span(np.zeros(3), np.zeros(3), chars) == (0.0, 0, 1)


def test_answers_are_the_best_over_all_windows() -> None:
    examples = Examples(["a", "b"], ["red fox ran", "big dog"], [(GoldAnswer("fox", 4),), (GoldAnswer("dog", 4),)])
    data = windows(examples, [0, 0, 1], [[(0, 3), (3, 7)], [(3, 7), (8, 11)], [(0, 3), (4, 7)]])
    logits = np.zeros((12, 2))
    logits[1, 0] = logits[2, 1] = 1  # red fox
    logits[5, 0] = logits[5, 1] = 2  # fox, in the second window, with its space
    logits[9] = -1, 5  # the end comes before the start: both in order give less
    logits[10] = 5, -1
    assert best_texts(data, logits) == ["fox", "big"]
    assert best_texts(data, logits, max_tokens=0) == ["", ""]


@pytest.mark.parametrize(
    ("predicted", "right", "exact", "f1"),
    [
        ("the Cat!", ["cat"], 1, 1),  # case, articles and punctuation do not count
        ("An apple  a\tday", ["apple day"], 1, 1),
        ("theatre", ["atre"], 0, 0),  # an article is a whole word
        ("U.S.", ["US"], 1, 1),  # punctuation goes without leaving a space …
        ("well-known", ["well known"], 0, 0),
        ("the-end", ["end"], 0, 0),  # … and before the articles
        ("10–12", ["1012"], 0, 0),  # only ASCII punctuation goes
        ("Zoë", ["zoe"], 0, 0),  # accents count
        ("red", ["red fox"], 0, 2 / 3),
        ("a big red fox", ["red fox"], 0, 0.8),
        ("no no no", ["no no yes"], 0, 2 / 3),  # repeated words count as often as in both
        ("fox", ["no", "the fox", "red fox"], 1, 1),  # the best of several
        ("", ["fox"], 0, 0),
        ("The", ["a"], 1, 0),  # nothing is left of both
        ("", ["..."], 1, 0),
    ],
)
def test_scores_of_one_answer(predicted: str, right: list[str], exact: float, f1: float) -> None:
    assert scored(predicted, *right) == pytest.approx([exact, f1])


def test_best_exact_match_and_best_f1_may_come_from_different_answers() -> None:
    examples = Examples(["q"] * 3, ["c"] * 3, [(GoldAnswer("x y", 0), GoldAnswer("x", 0))] * 3)
    found = counts(windows(examples, [0, 1, 2], [[(0, 1)]] * 3), ["x z", "x", "z"])
    assert found.dtype == np.float64
    assert found.tolist() == [[0, pytest.approx(2 / 3)], [1, 1], [0, 0]]
    assert KIND.scores(TASK, found, np.zeros(3)) == pytest.approx({"f1": 5 / 9, "exact_match": 1 / 3})
    assert list(KIND.scores(TASK, found, np.zeros(3))) == ["f1", "exact_match"]
    assert KIND.metric(TASK)(found[:2], np.zeros(2)) == pytest.approx(5 / 6)
