"""Which tokens are to be found, and what stands in their place (BERT: Devlin et al., 2019, section 3.1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from transformers import PreTrainedTokenizerBase

from ...errors import TrimformerError

SHARE = 0.15
"""Of the tokens of a row that are to be found."""
AS_MASK, AS_RANDOM = 0.8, 0.1
"""Of these: how many are replaced by the mask token, and by any other; the rest stay as they are."""


@dataclass(frozen=True)
class Masking:
    """How rows are masked.

    share: of the tokens that are no special ones; at least one token of a row. mask_id: of the mask token. special:
    bool (vocabulary,): tokens that are never masked. others: ids that may stand in a masked place. goes_on: bool
    (vocabulary,): tokens that go on with the word before them, which are masked with it; None: each token by itself.
    """

    share: float
    mask_id: int
    special: np.ndarray
    others: np.ndarray
    goes_on: np.ndarray | None = None

    def places(self, row: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """The places in a row whose tokens are to be found, in order."""
        free = np.flatnonzero(~self.special[row])
        if not self.share or not len(free):
            return free[:0]
        wanted = max(1, round(self.share * len(free)))
        if self.goes_on is None:
            return np.sort(rng.permutation(free)[:wanted])
        begins = ~self.goes_on[row[free]]
        begins[0] = True
        words = np.split(free, np.flatnonzero(begins)[1:])
        chosen: list[np.ndarray] = []
        for index in rng.permutation(len(words)):  # whole words, as long as they fit, and at least one
            if not chosen or sum(map(len, chosen)) + len(words[index]) <= wanted:
                chosen.append(words[index])
        return np.sort(np.concatenate(chosen))

    def masked(self, row: np.ndarray, places: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """The row with something else in most of these places."""
        found, drawn = row.copy(), rng.random(len(places))
        found[places[drawn < AS_MASK]] = self.mask_id
        random = places[(drawn >= AS_MASK) & (drawn < AS_MASK + AS_RANDOM)]
        found[random] = rng.choice(self.others, len(random))
        return found


def masking_of(tokenizer: PreTrainedTokenizerBase, vocabulary: int, share: float, *, whole_words: bool) -> Masking:
    """The masking by this tokenizer. vocabulary: rows of the encoder's word table.

    Raises TrimformerError for a tokenizer without a mask token, and where it does not show which tokens begin words.
    """
    if tokenizer.mask_token_id is None:
        raise TrimformerError(
            f"The tokenizer {tokenizer.name_or_path or ''} has no mask token, which a masked-LM task puts in the place "
            "of words: use a model whose tokenizer has one."
        )
    ids = tokenizer.get_vocab()
    known = np.zeros(vocabulary, dtype=bool)
    known[[i for i in ids.values() if i < vocabulary]] = True
    special = np.zeros(vocabulary, dtype=bool)
    special[[i for i in tokenizer.all_special_ids if i < vocabulary]] = True
    return Masking(
        share,
        tokenizer.mask_token_id,
        special,
        np.flatnonzero(known & ~special),
        _goes_on(ids, vocabulary) if whole_words else None,
    )


def _goes_on(ids: dict[str, int], vocabulary: int) -> np.ndarray:
    found = np.zeros(vocabulary, dtype=bool)
    inside = [i for token, i in ids.items() if token.startswith("##")]
    if not inside:
        first = _first_of_words(ids)
        inside = [i for token, i in ids.items() if not token.startswith(first)]
    found[[i for i in inside if i < vocabulary]] = True
    return found


def _first_of_words(ids: Sequence[str] | dict[str, int]) -> str:
    for mark in ("\u0120", "\u2581"):  # a blank of byte-level tokenizers, and of SentencePiece
        if sum(token.startswith(mark) for token in ids) > 1:
            return mark
    raise TrimformerError("The tokenizer does not show which of its tokens begin a word: leave whole_words out.")
