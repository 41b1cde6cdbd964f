"""Rows that a search keeps from the weights."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from tests.learning import context, toy_data
from trimformer import TrimformerError
from trimformer.methods.held_out import HeldOut, split
from trimformer.tasks.encoding.batches import bucketed_batches


def texts(rows: Any) -> set[tuple[int, ...]]:
    every = [rows.batch([index]) for index in range(len(rows))]
    return {tuple(one["input_ids"][0].tolist()) for one in every}


@pytest.mark.parametrize(("share", "held"), [(0.5, 24), (0.25, 12), (1.0, 47), (1e-6, 1)])
def test_weights_and_structure_share_no_row_and_none_is_lost(share: float, held: int) -> None:
    stage = context()
    left, others = split(stage, share)
    assert (len(left.rows), len(others.rows)) == (48 - held, held)
    assert not texts(left.rows) & texts(others.rows)
    assert texts(left.rows) | texts(others.rows) == texts(stage.train)
    assert left.steps == -(-(48 - held) // 8)
    again, _ = split(stage, share)
    assert texts(again.rows) == texts(left.rows)


def test_rows_without_labels_stay_with_the_weights() -> None:
    stage = context()
    other = toy_data(10, seed=9)
    ids, offsets = np.concatenate([stage.train.ids, other.ids]), np.concatenate(
        [stage.train.offsets, stage.train.offsets[-1] + other.offsets[1:]]
    )  # fmt: skip
    labels = np.concatenate([stage.train.labels, np.full(10, -100)])
    both = dataclasses.replace(stage.train, ids=ids, offsets=offsets, labels=labels)
    left, held = split(dataclasses.replace(stage, distilled=both), 0.5)
    assert texts(other) <= texts(left.rows)
    assert not texts(other) & texts(held.rows)


def test_every_held_out_row_comes_once_in_a_pass() -> None:
    _, held = split(context(), 0.5)
    assert isinstance(held, HeldOut)
    seen = [tuple(row[row != 0].tolist()) for step in (1, 2, 3) for row in held.batch(step)["input_ids"]]
    assert len(seen) == len(set(seen)) == 24
    order = [batch for batch in bucketed_batches(held.rows.lengths, 8, 1, 1)]
    assert (held.batch(4)["labels"] == held.rows.batch(order[0])["labels"]).all()


def test_one_row_cannot_be_split() -> None:
    stage = context()
    with pytest.raises(TrimformerError, match="give it more rows"):
        split(dataclasses.replace(stage, train=toy_data(1)), 0.5)
