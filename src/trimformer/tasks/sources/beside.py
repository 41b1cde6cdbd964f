"""Texts without labels that stand beside labelled rows: what a distillation may learn from, too."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace

from ...errors import TrimformerError
from ..data import Examples, TaskData, called, joined
from ..kinds import KINDS
from ..settings import TaskSettings
from .unlabelled import text_files, texts_of


def with_texts(data: TaskData, settings: TaskSettings) -> TaskData:
    """The data with the rows of `task.texts`, and how many there are as a note.

    A row that is read as one of the data, or as one before it, is left out: held-out rows must stay unseen. Raises
    TrimformerError where no row is left, and for files without the columns that the task needs.
    """
    kind = data.task.kind
    if data.train.pairs is not None and KINDS[kind].columns[1] is None:
        settings = settings.model_copy(update={"text_pair": settings.text_pair or "text_pair"})
    files = text_files(settings)
    rows = joined([texts_of(file, settings, kind) for file in files])
    known = set().union(*(part.keys() for part in (data.train, data.selection, data.validation)))
    first: dict[Hashable, int] = {}
    for row, key in enumerate(rows.keys()):
        if key not in known:
            first.setdefault(key, row)
    if not first:
        raise TrimformerError(
            f"All rows of {', '.join(map(str, files))} are in the labelled data, too, so that there is nothing new to "
            "learn from them: name other texts, or leave out task.texts."
        )
    kept, what = rows.take(list(first.values())), called(kind)
    left = len(rows) - len(kept)
    said = f"{len(kept):,} {what} without labels stand beside {len(data.train):,} with labels where a stage distils"
    twice = f"; {left:,} were left out, which are in the labelled data or stand there twice" if left else ""
    unlabelled = Examples(kept.texts, kept.pairs, [None] * len(kept))
    return replace(data, unlabelled=unlabelled, notes=(*data.notes, f"{said}{twice}."))
