"""Candidates in context: what a masked language model puts in the place of a word (for words that are one token).

It reads the text with the word masked, then, as the second of a pair, the text as it was, so that it looks for words
that mean the same (TinyBERT, Jiao et al., 2020; the pair is what their program does).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import AutoModelForMaskedLM, PreTrainedTokenizerBase

from ...console import Ticker
from ...encoder.checkpoints.load import load_tokenizer, resolve
from ...errors import TrimformerError
from ...files import OF_MODELS
from ...quiet import no_foreign_bars
from ..encoding.batches import bucketed_batches
from .base import Reader
from .candidates import Candidates, Proposals
from .neighbours import SPARE
from .word_table import whole_words
from .words import Words, cased_like

Place = tuple[int, int]
"""A text and a word in it, by their indices."""
BATCH = 64
TOGETHER = 64 * BATCH
"""Masked texts that are tokenised and sorted by their lengths at once."""
LONGEST = 512
"""Tokens of a masked text and the text itself, where the model takes as many."""


class MaskedLanguageModel(Candidates):
    """A masked language model, which answers once for each word of each text, whatever else is replaced there."""

    name = "masked-lm"

    def __init__(self, path_or_id: str) -> None:
        """Raises TrimformerError where there is none, or no mask token."""
        self.tokenizer, self.model = _load(path_or_id)
        self.about = f"the masked language model {path_or_id}"
        self.words = whole_words(Reader(self.tokenizer, self.model.get_input_embeddings().weight))
        self.spellings = {i: word for word, i in self.words.items()}
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model.to(self.device)
        # Some families count positions from the one behind the padding's.
        self.longest = min(LONGEST, getattr(self.model.config, "max_position_embeddings", LONGEST + 2) - 2)

    def propose(self, texts: Sequence[Words], wanted: Sequence[Sequence[int]], count: int) -> Proposals:
        found: Proposals = [{} for _ in texts]
        places = [(at, i) for at, asked in enumerate(wanted) for i in asked if self._knows(texts[at][i])]
        allowed = torch.tensor(sorted(self.spellings), device=self.device)
        with torch.inference_mode(), Ticker("masked words", len(places)) as tick:
            for batch, inputs in self._batches(texts, places):
                best = masked_logits(self.model, inputs, self.tokenizer.mask_token_id)[:, allowed].topk(
                    min(count + SPARE, len(allowed))
                )
                for (at, i), ids in zip(batch, allowed[best.indices].tolist(), strict=True):
                    word, new = texts[at][i], [self.spellings[one] for one in ids]
                    others = [one for one in new if one.lower() != word.lower()][:count]
                    found[at][i] = [cased_like(one, word) for one in others]
                tick.advance(len(batch))
        return found

    def _knows(self, word: str) -> bool:
        return word in self.words or word.lower() in self.words

    def _batches(
        self, texts: Sequence[Words], places: Sequence[Place]
    ) -> Iterator[tuple[list[Place], dict[str, Tensor]]]:
        """Words, and the texts of like length in which they are masked; none whose mask was cut off."""
        mask, mask_id = self.tokenizer.mask_token, self.tokenizer.mask_token_id
        for start in range(0, len(places), TOGETHER):
            some = places[start : start + TOGETHER]
            masked = [texts[at].replaced({i: mask}) for at, i in some]
            coded = self.tokenizer(
                masked,
                [texts[at].text for at, _ in some],
                truncation="longest_first",
                max_length=self.longest,
                verbose=False,
            )
            fit = [n for n, ids in enumerate(coded["input_ids"]) if mask_id in ids]
            lengths = np.array([len(coded["input_ids"][n]) for n in fit], dtype=np.int64)
            for rows in bucketed_batches(lengths, BATCH, seed=0, epoch=0, shuffle=False):
                part = {name: [values[fit[row]] for row in rows] for name, values in coded.items()}
                yield (
                    [some[fit[row]] for row in rows],
                    dict(self.tokenizer.pad(part, return_tensors="pt").to(self.device)),
                )


def masked_logits(model: Any, inputs: dict[str, Tensor], mask_id: int) -> Tensor:
    """What a model expects at the first mask of each text: (batch, vocabulary).

    Its last map, which is the larger part of a small model's work, reads nothing else.
    """
    ids = inputs["input_ids"]
    rows, at = torch.arange(len(ids), device=ids.device), (ids == mask_id).int().argmax(1)
    output = model.get_output_embeddings()
    hook = output and output.register_forward_pre_hook(lambda _, given: (given[0][rows, at],))
    try:
        logits: Tensor = model(**inputs).logits
    finally:
        if hook:
            hook.remove()
    return logits if logits.ndim == 2 else logits[rows, at]


def model_digest(path_or_id: str) -> str:
    """Of the files of a model."""
    found = hashlib.blake2b(digest_size=16)
    for file in sorted(resolve(path_or_id).iterdir()):
        if file.name.endswith(OF_MODELS):
            with file.open("rb") as opened:
                found.update(f"{file.name} {hashlib.file_digest(opened, 'blake2b').hexdigest()}".encode())
    return found.hexdigest()


def _load(path_or_id: str) -> tuple[PreTrainedTokenizerBase, Any]:
    folder, tokenizer = resolve(path_or_id), load_tokenizer(path_or_id)
    try:
        with no_foreign_bars():
            model, loaded = AutoModelForMaskedLM.from_pretrained(
                folder, trust_remote_code=False, use_safetensors=True, output_loading_info=True, dtype=torch.float32
            )
    except Exception as error:  # transformers and the readers of weights raise kinds of their own
        raise TrimformerError(
            f"{path_or_id} cannot be read as a masked language model ({str(error).strip().splitlines()[0]}): name one "
            "that can."
        ) from error
    if loaded["missing_keys"] or tokenizer.mask_token is None:
        why = "a mask token in its tokenizer" if tokenizer.mask_token is None else "weights of such a head"
        raise TrimformerError(
            f"{path_or_id} is no masked language model, for it lacks {why}: name another one, or leave masked_lm out."
        )
    return tokenizer, model.eval()
