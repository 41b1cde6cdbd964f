"""Seeded splits that keep the share of every class, or rows that belong together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from ..errors import TrimformerError
from .data import Examples

Keep = Literal["shares", "contexts", "groups"]

SELECTION_ROWS = 4000
"""More rows than this make a choice slower and hardly surer."""

FEWEST_ROWS = 10
"""With fewer rows a split leaves parts that measure nothing."""


def split(examples: Examples, held: int, seed: int, *, keep: Keep | None = None) -> tuple[Examples, Examples]:
    """Two parts, the second of at most `held` rows, each in file order.

    keep: the `shares` of the classes, where one with a single row stays in the first part; or `contexts` or `groups`,
    whose rows stay together, because a model that has read one of them would be judged too kindly on the others.
    Raises TrimformerError if there are fewer than 10 rows.
    """
    if len(examples) < FEWEST_ROWS:
        raise TrimformerError(
            f"Only {len(examples)} training rows are left to split, and at least {FEWEST_ROWS} are needed: "
            "add rows, or raise task.train_limit if it is set."
        )
    rng = np.random.default_rng(seed)
    together = {"contexts": examples.pairs, "groups": examples.groups}.get(keep or "") or []
    if len(set(together)) > 1:
        taken = _whole(together, held, rng)
    else:
        groups = np.asarray(examples.labels) if keep == "shares" else np.zeros(len(examples), dtype=np.int64)
        taken = _stratified(groups, held, rng)
    mask = np.zeros(len(examples), dtype=bool)
    mask[taken] = True
    return examples.take(np.flatnonzero(~mask).tolist()), examples.take(np.flatnonzero(mask).tolist())


def held_rows(rows: int, share: float) -> int:
    """How many of `rows` to hold out for selection."""
    return max(1, min(SELECTION_ROWS, round(rows * share)))


def _whole(names: Sequence[str], held: int, rng: np.random.Generator) -> Sequence[int]:
    """Indices of all rows of random groups, as many as make at most `held` rows; the smallest one at least."""
    number = {name: i for i, name in enumerate(dict.fromkeys(names))}
    groups = np.array([number[name] for name in names])
    sizes = np.bincount(groups)
    chosen: list[int] = []
    room = held
    for group in rng.permutation(len(number))[:-1].tolist():  # one group is always left
        if sizes[group] <= room:
            chosen.append(group)
            room -= sizes[group]
    return np.flatnonzero(np.isin(groups, chosen or [int(sizes.argmin())])).tolist()


def _stratified(groups: np.ndarray, held: int, rng: np.random.Generator) -> Sequence[int]:
    """Indices of about `held` rows, shared out over the groups by largest remainder."""
    names, counts = np.unique(groups, return_counts=True)
    exact = counts * held / len(groups)
    quota = np.floor(exact).astype(np.int64)
    rest = held - int(quota.sum())
    quota[np.argsort(quota - exact, kind="stable")[:rest]] += 1
    quota = np.minimum(quota, counts - 1)
    chosen = [rng.permutation(np.flatnonzero(groups == name))[:k] for name, k in zip(names, quota, strict=True)]
    return np.concatenate(chosen).tolist()
