"""Seeded splits that keep the share of every class, or questions on the same context together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trimformer.errors import TrimformerError
from trimformer.tasks.data import Examples, Kind

SELECTION_ROWS = 4000
"""More rows than this make a choice slower and hardly surer."""

FEWEST_ROWS = 10
"""With fewer rows a split leaves parts that measure nothing."""


def split(examples: Examples, held: int, kind: Kind, seed: int) -> tuple[Examples, Examples]:
    """Two parts, the second of about `held` rows, each in file order.

    Classification keeps the share of every class; a class with a single row stays in the first part. Questions on
    the same context stay together: a model that has read the context would be judged too kindly.
    Raises TrimformerError if there are fewer than 10 rows.
    """
    if len(examples) < FEWEST_ROWS:
        raise TrimformerError(
            f"only {len(examples)} training rows are left to split, and at least {FEWEST_ROWS} are needed; "
            "add rows, or raise task.train_limit if it is set"
        )
    rng = np.random.default_rng(seed)
    if kind == "spans" and len(set(examples.pairs or [])) > 1:
        taken = _whole_contexts(examples.pairs or [], held, rng)
    else:
        classes = kind == "classification"
        groups = np.asarray(examples.labels) if classes else np.zeros(len(examples), dtype=np.int64)
        taken = _stratified(groups, held, rng)
    mask = np.zeros(len(examples), dtype=bool)
    mask[taken] = True
    return examples.take(np.flatnonzero(~mask).tolist()), examples.take(np.flatnonzero(mask).tolist())


def held_rows(rows: int, share: float) -> int:
    """How many of `rows` to hold out for selection."""
    return max(1, min(SELECTION_ROWS, round(rows * share)))


def _whole_contexts(contexts: Sequence[str], held: int, rng: np.random.Generator) -> Sequence[int]:
    """Indices of all rows of random contexts, until there are `held` of them; one context is always left out."""
    number = {context: i for i, context in enumerate(dict.fromkeys(contexts))}
    groups = np.array([number[context] for context in contexts])
    order = rng.permutation(len(number))[:-1]
    rows = np.cumsum(np.bincount(groups, minlength=len(number))[order])
    chosen = order[: np.searchsorted(rows, held) + 1]
    return np.flatnonzero(np.isin(groups, chosen)).tolist()


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
