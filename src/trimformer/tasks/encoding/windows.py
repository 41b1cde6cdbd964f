"""Questions with long contexts as windows: each row holds the question and a piece of its context."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ...errors import TrimformerError
from ...saved.kinds import IGNORED
from ..data import Examples, GoldAnswer
from ..limits import STRIDE
from .chunks import chunks
from .tokenizers import AnyTokenizer, fast_form, makes_types

QUESTION = 64
"""Longer questions are cut to this number of tokens, as in BERT's published SQuAD code, at most half of a row."""


class _Tokens(NamedTuple):
    """Texts without special tokens, laid end to end: text i is `ids[offsets[i]:offsets[i + 1]]`."""

    ids: np.ndarray
    chars: np.ndarray
    offsets: np.ndarray


class Template(NamedTuple):
    """The special tokens before, between and after the two texts of a pair, and the types of all five parts."""

    before: np.ndarray
    between: np.ndarray
    after: np.ndarray
    types: list[int] | None

    @property
    def size(self) -> int:
        return len(self.before) + len(self.between) + len(self.after)


def tokenise(
    examples: Examples, tokenizer: AnyTokenizer, max_length: int, stride: int = STRIDE
) -> dict[str, np.ndarray]:
    """All windows of all contexts, in order; neighbours have `stride` tokens of the context in common, but at most
    half of the room that the question leaves to the context.

    ids int32 (tokens,); types uint8 (tokens,) if the tokenizer makes them; offsets int64 (rows + 1,); owners int64
    (rows,), the example of each row; chars int32 (tokens, 2), first character and end of each token in the context,
    -1 outside the context; truncated, the number of questions that were cut.

    Raises TrimformerError for a slow tokenizer, which knows no characters, and where a question leaves no room.
    """
    if fast_form(tokenizer) is None:
        raise TrimformerError(
            f"The tokenizer {tokenizer.name_or_path or ''} does not say where tokens stand in the text, which question "
            "answering needs: save its fast form (tokenizer.json) beside the model."
        )
    number = {context: i for i, context in enumerate(dict.fromkeys(examples.pairs or []))}
    context_of = np.array([number[context] for context in examples.pairs or []], dtype=np.int64)
    questions, contexts = tokens_of(examples.texts, tokenizer), tokens_of(list(number), tokenizer)
    template = template_of(tokenizer)

    lengths = np.diff(questions.offsets)
    limit = min(QUESTION, max_length // 2)
    kept = np.minimum(lengths, limit)
    owners, begins, ends = cut(np.diff(contexts.offsets)[context_of], max_length - template.size - kept, stride)
    begins += contexts.offsets[context_of[owners]]
    ends += contexts.offsets[context_of[owners]]
    starts, stops = questions.offsets[:-1][owners], (questions.offsets[:-1] + kept)[owners]

    ids: list[np.ndarray] = []
    types: list[np.ndarray] = []
    chars = np.full(((stops - starts + ends - begins).sum() + template.size * len(owners), 2), -1, dtype=np.int32)
    offsets = np.zeros(len(owners) + 1, dtype=np.int64)
    for row, (start, stop, begin, end) in enumerate(zip(starts, stops, begins, ends, strict=True)):
        parts = [
            template.before,
            questions.ids[start:stop],
            template.between,
            contexts.ids[begin:end],
            template.after,
        ]
        sizes = [len(part) for part in parts]
        at = offsets[row] + sum(sizes[:3])
        chars[at : at + sizes[3]] = contexts.chars[begin:end]
        offsets[row + 1] = offsets[row] + sum(sizes)
        ids.append(np.concatenate(parts))
        if template.types is not None:
            types.append(np.repeat(np.array(template.types, dtype=np.uint8), sizes))
    arrays = {
        "ids": np.concatenate(ids),
        "offsets": offsets,
        "owners": owners,
        "chars": chars,
        "truncated": np.asarray((lengths > limit).sum()),
    }
    if types:
        arrays["types"] = np.concatenate(types)
    return arrays


def labels_of(arrays: dict[str, np.ndarray], examples: Examples) -> np.ndarray:
    """First and last token, counted in the row, of the first right answer: int64 (rows, 2).

    (0, 0), the first token, where the window does not hold the whole answer; -100 where there is none. A token that
    holds more than a part of the answer, such as an unsplit `1914-18`, counts as part of it.
    """
    offsets, owners = arrays["offsets"], arrays["owners"]
    answers = [GoldAnswer("", 0) if labels is None else labels[0] for labels in examples.labels]
    # White space at the ends of an answer belongs to no token.
    begins = np.array([start + len(text) - len(text.lstrip()) for text, start in answers], dtype=np.int64)[owners]
    ends = np.array([start + len(text.rstrip()) for text, start in answers], dtype=np.int64)[owners]

    inside = np.flatnonzero(arrays["chars"][:, 0] >= 0)
    row_of = np.repeat(np.arange(len(owners)), np.diff(offsets))[inside]
    first_char, end_char = arrays["chars"][inside].astype(np.int64).T
    # Characters only grow within a row. Adding a large step from row to row makes all of them one sorted array.
    step = max(int(end_char.max(initial=0)), int(ends.max(initial=0))) + 1
    rows = np.arange(len(owners))
    first = np.searchsorted(end_char + row_of * step, begins + rows * step, side="right")
    last = np.searchsorted(first_char + row_of * step, ends + rows * step, side="left") - 1

    bounds = np.searchsorted(row_of, np.arange(len(owners) + 1))
    whole = (bounds[:-1] <= first) & (first <= last) & (last < bounds[1:])
    whole[whole] &= first_char[bounds[:-1][whole]] <= begins[whole]
    whole[whole] &= ends[whole] <= end_char[bounds[1:][whole] - 1]
    labels = np.zeros((len(owners), 2), dtype=np.int64)
    labels[whole, 0] = inside[first[whole]] - offsets[:-1][whole]
    labels[whole, 1] = inside[last[whole]] - offsets[:-1][whole]
    labels[np.array([row is None for row in examples.labels])[owners]] = IGNORED
    return labels


def cut(lengths: np.ndarray, room: np.ndarray, stride: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Owner, first token and end of every window; lengths, room: context tokens there are, and that fit, (n,)."""
    if room.min(initial=1) < 1:
        raise TrimformerError("Beside the longest question no token of its context fits: raise task.max_length.")
    step = np.maximum(room - stride, -(-room // 2))
    windows = 1 + np.maximum(0, -(-(lengths - room) // step))
    owners = np.repeat(np.arange(len(lengths)), windows)
    begins = (np.arange(len(owners)) - np.repeat(np.cumsum(windows) - windows, windows)) * step[owners]
    return owners, begins, np.minimum(begins + room[owners], lengths[owners])


def tokens_of(texts: Sequence[str], tokenizer: AnyTokenizer) -> _Tokens:
    fast = fast_form(tokenizer)
    ids: list[np.ndarray] = []
    chars: list[np.ndarray] = []
    for part in chunks(map(len, texts)):
        coded = fast.encode_batch(list(texts[part]), add_special_tokens=False)
        ids += [np.array(one.ids, dtype=np.int32) for one in coded]
        chars += [np.array(one.offsets, dtype=np.int32).reshape(-1, 2) for one in coded]
    offsets = np.cumsum([0, *(len(row) for row in ids)], dtype=np.int64)
    return _Tokens(np.concatenate(ids), np.concatenate(chars), offsets)


def template_of(tokenizer: AnyTokenizer) -> Template:
    """Read off how the tokenizer joins two texts."""
    coded = fast_form(tokenizer).encode("a", "a")
    ids = np.array(coded.ids, dtype=np.int32)
    parts = np.array([-1 if part is None else part for part in coded.sequence_ids])
    question, context = np.flatnonzero(parts == 0), np.flatnonzero(parts == 1)
    first, first_end, second, second_end = question[0], question[-1] + 1, context[0], context[-1] + 1
    places = (0, first, first_end, second, len(ids) - 1)
    types = [coded.type_ids[at] for at in places] if makes_types(tokenizer) else None
    return Template(ids[:first], ids[first_end:second], ids[second_end:], types)
