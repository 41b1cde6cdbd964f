"""Confirmation: the first file, from the fastest on, that keeps the budget on rows that chose nothing."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from trimformer.measure.bench.latency import Timing
from trimformer.measure.significance import exact_upper, rows_for
from trimformer.search.confirmation import LEVEL, MOST, Confirmation, confirmation, step_down
from trimformer.search.measurement import Measurement
from trimformer.tasks.data import Task
from trimformer.tasks.kinds import KINDS
from trimformer.tasks.outcome import Outcome

TASK = Task("t", "classification", ("a", "b"), ("accuracy",), "")


def file(name: str, ms: float, drop: float, backend: str = "onnx") -> Measurement:
    return Measurement(Timing(name, backend, 1, 8, ms, ms, 1, 1, sequences_per_s=1e3 / ms), 0.9, drop)


DENSE = file("dense", 9.0, 0.0)


def outcome(answers: np.ndarray, task: Task = TASK, groups: np.ndarray | None = None) -> Outcome:
    kind, truth = KINDS[task.kind], np.zeros(len(answers), int)
    return Outcome({}, answers, truth, kind.metric(task), kind.hits(task, answers, truth), groups)


def judged(
    losses: int, gains: int, n: int, sure: float | None, task: Task = TASK, groups: np.ndarray | None = None
) -> Confirmation:
    """With so many rows that only the dense model has right, and only the file."""
    before, after = np.zeros(n, int), np.zeros(n, int)
    after[:losses], before[losses : losses + gains] = 1, 1
    found = (outcome(before, task, groups), outcome(after, task, groups))
    return confirmation("dense", "onnx", task.metric, *found, 0.5, sure=sure, resamples=100)


def stepped(files: list[Measurement], good: set[str]) -> tuple[list[str], list[float | None]]:
    levels = []

    def confirm(one: Measurement, level: float | None) -> Confirmation:
        levels.append(level)
        name = one.timing.name
        return Confirmation(name, one.timing.backend, {"difference": 0.0}, None, None, name in good)

    return [one.name for one in step_down([one for one in files if one.trusted], DENSE, 0.5, confirm)], levels


def test_from_the_fastest_down_to_the_first_that_is_confirmed() -> None:
    files = [file("slow", 3, 0), file("fast", 1, 0.4), file("outside", 0.5, 0.6), file("middle", 2, 0.5)]
    names, levels = stepped(files, {"middle", "slow"})
    assert names == ["fast", "middle"]
    assert levels == [LEVEL / 3] * 2  # all that may be tried count, also the one that need not be


def test_a_file_that_answers_otherwise_is_not_tried() -> None:
    odd = dataclasses.replace(file("odd", 1, 0.0, "onnx-int8"), agreement=0.97)
    assert stepped([odd, file("good", 2, 0.0)], {"odd", "good"})[0] == ["good"]
    assert stepped([odd], {"odd"})[0] == ["dense"]


def test_at_the_end_stands_the_dense_model() -> None:
    assert stepped([file("fast", 1, 0.0), file("slower", 10, 0.0)], set()) == (["fast", "dense"], [LEVEL, None])
    assert stepped([file("outside", 1, 9.0)], set()) == (["dense"], [None])
    assert len(stepped([file(f"f{i}", 1 + i / 100, 0.0) for i in range(9)], set())[0]) == MOST + 1


def test_the_drop_decides_and_with_sure_the_end_of_its_interval() -> None:
    assert judged(1, 0, 200, None).confirmed
    assert not judged(2, 0, 200, None).confirmed
    few = judged(0, 0, 200, 0.05)
    assert not few.confirmed  # a bootstrap without a differing row would prove everything
    assert few.upper == pytest.approx(100 * (1 - 0.025 ** (1 / 200)))
    assert few.rows == 736
    assert judged(0, 0, few.rows, 0.05).confirmed
    assert not judged(0, 0, few.rows - 1, 0.05).confirmed


def test_other_metrics_prove_nothing_without_differing_answers() -> None:
    found = judged(3, 0, 5000, 0.05, Task("t", "classification", ("a", "b"), ("f1_macro",), ""))
    assert not found.confirmed
    assert found.upper == math.inf


def test_rows_of_one_group_prove_as_much_as_one() -> None:
    """Fifty rows lost, each in a group of ten: no exact bound holds there, and of nine groups nothing is known."""
    n = 5000
    few, many = np.arange(n) % 9, np.arange(n) // 10
    assert judged(12, 12, n, 0.05).upper < judged(12, 12, n, 0.05, groups=few).upper == math.inf
    alike = judged(12, 12, n, 0.05, groups=many)  # 24 rows differ, in three groups
    assert (alike.test.groups, alike.test.differing, alike.upper, alike.confirmed) == (500, 3, math.inf, False)
    apart = judged(12, 12, n, 0.05, groups=np.arange(n) % 500)
    assert apart.test.differing == 24
    assert 0 < apart.upper < 1


def test_no_number_of_rows_proves_a_drop_outside() -> None:
    assert rows_for(2, 0, 200, 0.05, 0.005) is None
    rows = rows_for(10, 9, 1000, 0.05, 0.005)
    assert rows is not None
    assert exact_upper(rows / 100, 9 * rows / 1000, rows, 0.05) <= 0.005


@pytest.mark.parametrize(("losses", "gains"), [(0.005, 0.0), (0.02, 0.015), (0.06, 0.055)])
def test_what_is_surely_inside_is_so_but_for_the_level(losses: float, gains: float) -> None:
    """Files whose true drop lies on the edge of the budget: of 2,000 searches with four each few confirm any."""
    n, limit = 1500, 0.005
    draws = np.random.default_rng(0).multinomial(n, [losses, gains, 1 - losses - gains], (2000, MOST))
    bound: dict[tuple[int, int], float] = {}
    for lost, won in {(int(a), int(b)) for a, b, _ in draws.reshape(-1, 3)}:
        bound[lost, won] = exact_upper(lost, won, n, LEVEL / MOST)
    falsely = np.mean([any(bound[int(a), int(b)] <= limit for a, b, _ in search) for search in draws])
    assert falsely <= LEVEL
