"""Answers to questions on passages whose states are kept: the question's own are computed, and the upper layers."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from ...errors import TrimformerError
from ...saved.kinds import Kind
from ...tasks.cuts import Cuts
from ...tasks.encoding.encoded import Encoded, padding_id
from ...tasks.encoding.passages import read_questions
from ...tasks.encoding.tokenizers import AnyTokenizer
from ...tasks.kinds import KINDS
from .store import PassageStore


class Halves(Protocol):
    """The two halves of a model: the layers that see each text by itself, and those that see both.

    digest: of the lower half, see :func:`trimformer.inference.runtimes.torch_model.digest_of_lower`.
    """

    @property
    def digest(self) -> str: ...

    def lower(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """States of questions, float32 (batch, n, hidden). inputs: as those of a model, int64 (batch, n)."""
        ...

    def upper(self, states: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Logits of pairs. states: float32 (batch, n, hidden); mask: int64 (batch, n), 1 = real token."""
        ...


@dataclasses.dataclass(frozen=True)
class Asked(Encoded):
    """Questions, each with a window of its passage. windows: int64 (n,), their numbers in the store. firsts: int64
    (n,), how many tokens of a row are the question's."""

    windows: np.ndarray = dataclasses.field(kw_only=True)
    firsts: np.ndarray = dataclasses.field(kw_only=True)


class PassageReader:
    """Reads rows of a question and the name or the text of a passage."""

    def __init__(self, store: PassageStore, halves: Halves) -> None:
        self.store, self.halves = store, halves

    def check(self, rows: Sequence[Any]) -> None:
        """Raise TrimformerError for a row that names no passage."""
        self._find(rows)

    def _find(self, rows: Sequence[Any]) -> np.ndarray:
        """The number of each row's passage, int64 (rows,)."""
        if not all(isinstance(row, tuple) for row in rows):
            raise TrimformerError("Beside each question a passage is asked for: give its name, or its text.")
        return np.array([self.store.find(row[1]) for row in rows], dtype=np.int64)

    def tokenise(self, kind: Kind, rows: Sequence[Any], tokenizer: AnyTokenizer, cuts: Cuts) -> Asked:
        """The tokens of rows, one for each window; raises TrimformerError for a passage that is not there."""
        store = self.store
        passages = self._find(rows)
        questions = read_questions([row[0] for row in rows], tokenizer, cuts)
        counts = store.starts[passages + 1] - store.starts[passages]
        owners = np.repeat(np.arange(len(rows)), counts)
        before = np.cumsum(counts) - counts
        windows = store.starts[passages[owners]] + np.arange(len(owners)) - before[owners]
        firsts = np.diff(questions.offsets)[owners]
        ids, chars, types, sizes = [], [], [], []
        for owner, window in zip(owners, windows, strict=True):
            question = questions.ids[questions.offsets[owner] : questions.offsets[owner + 1]]
            place = slice(store.offsets[window], store.offsets[window + 1])
            ids += [question, store.ids[place]]
            chars += [np.full((len(question), 2), -1, dtype=np.int32), store.chars[place]]
            types += [np.zeros(len(question), dtype=np.uint8), np.ones(place.stop - place.start, dtype=np.uint8)]
            sizes.append(len(question) + place.stop - place.start)
        examples = KINDS[kind].examples([(row[0], store.text(at)) for row, at in zip(rows, passages, strict=True)])
        by_token = KINDS[kind].per_token
        return Asked(
            ids=np.concatenate(ids),
            types=np.concatenate(types),
            offsets=np.cumsum([0, *sizes], dtype=np.int64),
            labels=np.empty(0),
            truncated=questions.truncated,
            pad_id=padding_id(tokenizer),
            kind=kind,
            examples=examples,
            owners=owners if by_token else None,
            chars=np.concatenate(chars) if by_token else None,
            windows=windows,
            firsts=firsts,
        )

    def run(self, data: Asked, rows: np.ndarray) -> np.ndarray:
        """The logits of some rows, padded on the right to the longest."""
        firsts, lengths = data.firsts[rows], data.lengths[rows]
        real = np.arange(firsts.max()) < firsts[:, None]
        at = np.where(real, data.offsets[rows][:, None] + np.arange(firsts.max()), 0)
        mask = real.astype(np.int64)
        ids = np.where(real, data.ids[at], data.pad_id).astype(np.int64)
        own = self.halves.lower({"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(mask)})
        states = np.zeros((len(rows), lengths.max(), own.shape[-1]), dtype=np.float32)
        for place, (row, first, length) in enumerate(zip(rows, firsts, lengths, strict=True)):
            window = data.windows[row]
            states[place, :first] = own[place, :first]
            states[place, first:length] = self.store.states[self.store.offsets[window] : self.store.offsets[window + 1]]
        return self.halves.upper(states, (np.arange(lengths.max()) < lengths[:, None]).astype(np.int64))
