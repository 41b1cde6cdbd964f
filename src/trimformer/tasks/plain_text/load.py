"""A masked-LM task on plain text: its rows in three parts."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from transformers import PreTrainedTokenizerBase

from ...encoder.shape.config import TrimformerConfig
from ...errors import TrimformerError
from ..data import Task
from ..encoding.encoded import padding_id
from ..kinds import KINDS
from ..settings import TaskSettings
from ..task import check_settings
from .masking import SHARE, masking_of
from .pairs import RUN, pairing_of, together
from .rows import MaskedRows, masked_rows
from .store import Stored, stored

NAME = "text"
HELD_OUT = 0.15
MOST_HELD = 500
"""Rows of a part that is held out, at most: each has about twenty masked tokens."""
MANY_UNKNOWN = 0.05
"""The share of unknown tokens from which on the vocabulary is doubted."""


@dataclass(frozen=True)
class TextRows:
    """The task, and its rows as `TaskData` divides them, tokenised and masked."""

    task: Task
    train: MaskedRows
    selection: MaskedRows
    validation: MaskedRows
    notes: list[str]


def is_plain_text(settings: TaskSettings) -> bool:
    """Whether the task is to find masked tokens of plain text."""
    return settings.name == NAME


def load_plain_text(
    settings: TaskSettings, tokenizer: PreTrainedTokenizerBase, config: TrimformerConfig, max_length: int, seed: int
) -> TextRows:
    """Tokenise, or find in the cache, and hold rows out of the texts: for the score, unless a file for it is named, and
    to choose by; equal rows are in one part only. Rows of two texts are held out, and limited, by runs.

    Raises TrimformerError for files that cannot be read, where there are too few rows, for a tokenizer without a mask
    token, and for settings that mean nothing here.
    """
    check_settings(settings)
    if not settings.texts:
        raise TrimformerError("A task of plain text needs files: name them in task.texts.")
    files, pairing = _paths(settings.texts), pairing_of(tokenizer) if settings.pairs else None
    room = max_length if pairing is None else pairing.room(max_length)
    rows = _stored(settings, files, tokenizer, room)
    masking, held_masking = (
        masking_of(tokenizer, config.vocab_size, share, whole_words=settings.whole_words)
        for share in (settings.masked, SHARE)
    )
    run = 1 if pairing is None else RUN
    _, first = np.unique(rows.hashes, return_index=True)  # of equal rows the first one, in the order of their hashes
    different = together(first, run)
    scored = 0 if settings.validation is not None else held_out(len(different), HELD_OUT)
    chosen = held_out(len(different), settings.selection)
    if len(different) < scored + chosen + 1 or not chosen:
        raise TrimformerError(
            f"The texts in {', '.join(map(str, files))} give {len(different)} different rows, too few to hold some "
            "out: add texts, or lower task.max_length."
        )
    held = different[: scored + chosen]
    train = np.flatnonzero(~np.isin(rows.hashes, rows.hashes[held]))
    if settings.train_limit is not None:
        train = np.sort(together(np.random.default_rng(seed).permutation(train), run)[: settings.train_limit])
    made = partial(masked_rows, pad_id=padding_id(tokenizer), max_length=max_length, pairing=pairing)
    selection = made(rows, np.sort(held[scored:]), held_masking, held=True)
    source, notes = f"{_said(rows, files)}", _unknown(rows, files)
    if settings.validation is None:
        validation = made(rows, np.sort(held[:scored]), held_masking, held=True)
        source += f"; validation: {scored:,} of them, held out"
    else:
        own = _paths([settings.validation])
        others = _stored(settings, own, tokenizer, room)
        validation = made(others, np.arange(len(others.ends)), held_masking, held=True)
        source, notes = f"{source}; validation: {_said(others, own)}", notes + _unknown(others, own)
    task = KINDS["masked-lm"].scored_by(
        Task(NAME, "masked-lm", (), KINDS["masked-lm"].metrics(()), source), settings.metric
    )
    return TextRows(task, made(rows, train, masking, held=False), selection, validation, notes)


def held_out(rows: int, share: float) -> int:
    """How many rows of so many different ones are held out."""
    return min(MOST_HELD, max(1, round(share * rows)))


def _paths(names: list[str]) -> list[Path]:
    return [Path(name).expanduser() for name in names]


def _stored(settings: TaskSettings, files: list[Path], tokenizer: PreTrainedTokenizerBase, max_length: int) -> Stored:
    return stored(
        files, tokenizer, max_length, packed=settings.packed, column=settings.text or "text", unit=settings.unit
    )


def _said(rows: Stored, files: list[Path]) -> str:
    return (
        f"{', '.join(map(str, files))}: {rows.texts:,} texts, {rows.tokens:,} tokens ({_share(rows):.2%} unknown) in "
        f"{len(rows.ends):,} rows"
    )


def _share(rows: Stored) -> float:
    return rows.unknown / max(1, rows.tokens)


def _unknown(rows: Stored, files: list[Path]) -> list[str]:
    if _share(rows) < MANY_UNKNOWN:
        return []
    names = ", ".join(map(str, files))
    return [
        f"WARNING: {_share(rows):.1%} of the tokens of {names} are unknown to the tokenizer, as if "
        "its vocabulary were of another language: little can be learned of such texts."
    ]
