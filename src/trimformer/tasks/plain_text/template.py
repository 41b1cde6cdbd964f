"""What a tokenizer puts around texts."""

from __future__ import annotations

from transformers import PreTrainedTokenizerBase

from ..encoding.tokenizers import makes_types

TEXTS = (-1, -2)
"""What stands for the first text of a row, and for the second."""


def template(tokenizer: PreTrainedTokenizerBase, texts: int) -> tuple[list[int], list[int] | None]:
    """The tokens of a row of so many texts, one or two, and the segment of each; None where it makes no segments.

    A text is one token there, of ``TEXTS``.
    """
    if not tokenizer.is_fast:
        given = [[text] for text in TEXTS[:texts]]
        types = tokenizer.create_token_type_ids_from_sequences(*given) if makes_types(tokenizer) else None
        return tokenizer.build_inputs_with_special_tokens(*given), types
    coded = tokenizer(*["a", "b"][:texts], verbose=False)
    parts = coded.sequence_ids(0)
    ids = [token if part is None else TEXTS[part] for token, part in zip(coded["input_ids"], parts, strict=True)]
    once = [at for at, token in enumerate(ids) if token not in TEXTS or token not in ids[:at]]
    segments = coded.get("token_type_ids")
    return [ids[at] for at in once], None if segments is None else [segments[at] for at in once]
