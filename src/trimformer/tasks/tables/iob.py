"""Spans as tags: IOB1 and IOB2 (Ramshaw & Marcus 1995; Tjong Kim Sang & Veenstra 1999).

I-X: inside a span of type X. O: outside. B-X: the first word of a span; in IOB1 only where the word before it ends
another span of type X, in IOB2 always.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from ...errors import TrimformerError
from ..labels import is_iob_tag
from .tagged import Tagged, Word

Scheme = Literal["iob1", "iob2"]

# The mark that must follow a word of its own type: in IOB1 nothing else needs a B, in IOB2 an I continues.
_FOLLOWS = {"iob1": "B", "iob2": "I"}
_OTHER = {"iob1": "iob2", "iob2": "iob1"}


def to_iob2(tagged: Tagged, scheme: Scheme) -> Tagged:
    """The same spans in IOB2; raises TrimformerError at the first tag that `scheme` does not allow there."""
    return replace(tagged, sentences=[_converted(tagged, sentence, scheme) for sentence in tagged.sentences])


def _converted(tagged: Tagged, sentence: list[Word], scheme: Scheme) -> list[Word]:
    converted = []
    before = ""
    for word in sentence:
        if not is_iob_tag(word.tag):
            raise TrimformerError(
                f"In {tagged.where(word)}, the tag '{word.tag}' is not O, B-type or I-type, as {scheme.upper()} has "
                "it: correct the tag."
            )
        mark, _, kind = word.tag.partition("-")
        if mark == _FOLLOWS[scheme] and kind != before:
            raise TrimformerError(
                f"In {tagged.where(word)}, '{word.tag}' does not follow a word in a span of type {kind}, as it must in "
                f"{scheme.upper()}: set task.scheme: {_OTHER[scheme]} if the file is tagged so, or correct the tag."
            )
        converted.append(word._replace(tag=f"B-{kind}") if mark == "I" and kind != before else word)
        before = kind
    return converted
