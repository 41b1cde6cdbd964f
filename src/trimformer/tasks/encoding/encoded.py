"""A tokenised split, which hands out padded batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import TrimformerError
from ...saved.kinds import IGNORED, Kind
from ..data import Examples
from ..limits import Truncation

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Encoded:
    """A tokenised split, its rows laid end to end: row i is `ids[offsets[i]:offsets[i + 1]]`.

    ids int32 (tokens,); types uint8 (tokens,) or None if the tokenizer makes no token types; offsets int64 (n
    + 1,); `truncated` counts the rows that were cut to `max_length` tokens, `truncation` says which part of them
    stays; `examples` is what was tokenised.

    labels: int64 (n,) for classification, float32 (n,) for regression and ranking, float32 (n, labels) for multilabel;
    int64 (tokens,) for tokens, -100 where a token has none; int64 (n, 2) for spans: first and last token in the row;
    for embedding float32 (n, size), a teacher's vectors, or of couples float32 (n,), the score of each at both its
    rows. A row without a label has -100 in its place, or NaN where labels are floats, and counts in no loss of the
    task.
    words, for tokens only: int32 (tokens,), the index of the word that begins at this token, -1 where none does.
    owners, for spans and couples only: int64 (n,), the example that a row is a window or a text of. chars, for spans
    only: int32 (tokens, 2), first character and end of the token in the context, -1 outside the context.
    """

    ids: np.ndarray
    types: np.ndarray | None
    offsets: np.ndarray
    labels: np.ndarray
    truncated: int
    pad_id: int
    kind: Kind
    examples: Examples
    words: np.ndarray | None = None
    owners: np.ndarray | None = None
    chars: np.ndarray | None = None
    max_length: int | None = None
    truncation: Truncation = "head"

    @classmethod
    def from_arrays(
        cls, arrays: Mapping[str, np.ndarray], labels: np.ndarray, pad_id: int, kind: Kind, examples: Examples
    ) -> Encoded:
        """The split that a tokenising function gave as `arrays`; one that does not count what it cuts has cut 0."""
        return cls(
            ids=arrays["ids"],
            types=arrays.get("types"),
            offsets=arrays["offsets"],
            labels=labels,
            truncated=int(arrays.get("truncated", 0)),
            pad_id=pad_id,
            kind=kind,
            examples=examples,
            words=arrays.get("words"),
            owners=arrays.get("owners"),
            chars=arrays.get("chars"),
        )

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def couples(self) -> bool:
        """Whether two rows that follow one another are a couple of texts."""
        return self.owners is not None and self.chars is None

    @property
    def places(self) -> np.ndarray:
        """How many labels each row has, int64 (n,): one, but where a model is asked at some places of it."""
        return np.ones(len(self), dtype=np.int64)

    def of_epoch(self, seed: int, epoch: int) -> Encoded:
        """The rows as they are read in a pass over them: what is drawn at random in them is drawn anew."""
        return self

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each row, int64 (n,)."""
        return np.diff(self.offsets)

    def batch(self, indices: Sequence[int]) -> dict[str, torch.Tensor]:
        """Rows padded on the right to the longest of them.

        input_ids, attention_mask and, if the tokenizer makes them, token_type_ids: int64 (batch, longest);
        labels as in the data, for tokens int64 (batch, longest), -100 on padding.
        """
        import torch  # who predicts from exported files has none

        rows = [slice(self.offsets[i], self.offsets[i + 1]) for i in indices]
        lengths = torch.from_numpy(self.lengths[list(indices)])
        shape = (len(rows), int(lengths.max()))
        batch = {
            "input_ids": torch.full(shape, self.pad_id),
            "attention_mask": (torch.arange(shape[1]) < lengths[:, None]).long(),
        }
        of_words = self.words is not None
        batch["labels"] = torch.full(shape, IGNORED) if of_words else torch.from_numpy(self.labels[list(indices)])
        if self.types is not None:
            batch["token_type_ids"] = torch.zeros(shape, dtype=torch.int64)
        for at, (row, length) in enumerate(zip(rows, lengths.tolist(), strict=True)):
            batch["input_ids"][at, :length] = torch.from_numpy(self.ids[row])
            if self.types is not None:
                batch["token_type_ids"][at, :length] = torch.from_numpy(self.types[row])
            if of_words:
                batch["labels"][at, :length] = torch.from_numpy(self.labels[row])
        return batch


def padding_id(tokenizer: Any) -> int:
    """The id of the padding token; raises TrimformerError for a tokenizer that has none."""
    if tokenizer.pad_token_id is None:
        raise TrimformerError(
            f"The tokenizer {tokenizer.name_or_path or ''} has no padding token: use one that has it."
        )
    return int(tokenizer.pad_token_id)
