"""Seeded splits that keep the share of every class, and rows that belong together or have equal texts in one part."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence
from typing import Literal

import numpy as np

from ..errors import TrimformerError
from .data import Examples

Keep = Literal["shares", "contexts", "queries", "groups"]

SELECTION_ROWS = 4000
"""More rows than this make a choice slower and hardly surer."""

FEWEST_ROWS = 10
"""With fewer rows a split leaves parts that measure nothing."""


def split(examples: Examples, held: int, seed: int, *, keep: Keep | None = None) -> tuple[Examples, Examples]:
    """Two parts, the second of at most `held` rows, each in file order.

    keep: the `shares` of the classes, where one with a single row stays in the first part; or `contexts`, `queries` or
    `groups`, whose rows stay together, because a model that has read one of them would be judged too kindly on the
    others. For the same reason rows with equal texts are in one part, unless this would leave no row in the second one
    or `groups` decide.
    Raises TrimformerError if there are fewer than 10 rows, a single group, or no row that can be held out.
    """
    mask, classes, rng = _drawn(examples, held, seed, keep)
    if keep != "groups":
        mask = _together(examples.keys(), classes, mask, rng)
    if not mask.any():
        raise TrimformerError(
            f"No row can be held out, for each of the {len(set(classes.tolist()))} classes has a single row: name "
            "another label column, or --kind regression where the labels are numbers, written as 1.5."
        )
    return examples.take(np.flatnonzero(~mask).tolist()), examples.take(np.flatnonzero(mask).tolist())


def sample(examples: Examples, rows: int, seed: int, *, keep: Keep | None = None) -> Examples:
    """At most so many of the rows, drawn as by `split`, of equal texts one by one."""
    mask, _, _ = _drawn(examples, rows, seed, keep)
    return examples.take(np.flatnonzero(mask).tolist())


def held_rows(rows: int, share: float) -> int:
    """How many of `rows` to hold out for selection."""
    return max(1, min(SELECTION_ROWS, round(rows * share)))


def _drawn(
    examples: Examples, held: int, seed: int, keep: Keep | None
) -> tuple[np.ndarray, np.ndarray, np.random.Generator]:
    """Which rows are held, the class of each row, and the generator after these draws."""
    if len(examples) < FEWEST_ROWS:
        raise TrimformerError(
            f"Only {len(examples)} training rows are left to split, and at least {FEWEST_ROWS} are needed: "
            "add rows, or raise task.train_limit if it is set."
        )
    rng = np.random.default_rng(seed)
    classes = np.asarray(examples.labels) if keep == "shares" else np.zeros(len(examples), dtype=np.int64)
    together = {"contexts": examples.pairs, "queries": examples.texts, "groups": examples.groups}.get(keep or "") or []
    if keep == "groups" and len(set(together)) < 2:
        raise TrimformerError(
            f"The {len(examples)} rows that are to be split further belong to one group ({together[0]}), which must "
            "not be torn apart: add groups, raise task.selection, or leave out group."
        )
    taken = _whole(together, held, rng) if len(set(together)) > 1 else _stratified(classes, held, rng)
    mask = np.zeros(len(examples), dtype=bool)
    mask[taken] = True
    return mask, classes, rng


def _together(keys: Sequence[Hashable], classes: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The mask of held rows without keys that are on both sides; all others stay where they are.

    Of such keys random ones are held as a whole, as many as there is room for: first of each class no more rows than
    before, then of all classes together.
    """
    rows: dict[Hashable, list[int]] = defaultdict(list)
    for row, key in enumerate(keys):
        rows[key].append(row)
    torn = [group for group in rows.values() if len(group) > 1 and len(set(mask[group].tolist())) > 1]
    whole = mask.copy()
    whole[[row for group in torn for row in group]] = False
    room, left = Counter(classes[mask & ~whole].tolist()), Counter(classes[~whole].tolist())
    order = [torn[at] for at in rng.permutation(len(torn)).tolist()]
    for shared in (False, True):
        for group in order:
            first, *others = set(classes[group].tolist())
            space = room.total() if shared else room[first]
            # A class keeps a row in the first part, of which one of several classes could be the last one.
            if not others and not whole[group[0]] and len(group) <= space and len(group) < left[first]:
                whole[group] = True
                room[first] -= len(group)
                left[first] -= len(group)
    return whole if whole.any() else mask


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
