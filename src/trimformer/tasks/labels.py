"""What the names of labels say: their order, their ids in a model, and whether they tag spans."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence

from ..errors import TrimformerError

_SPAN_TAG = re.compile("O|[BI]-.+")


def class_names(labels: Sequence[str]) -> tuple[str, ...]:
    """The different labels: in the order of their numbers if all are numbers, else alphabetically."""
    names = sorted(set(labels))
    if all(number(name) is not None for name in names):
        names.sort(key=float)
    return tuple(names)


def match_labels(have: Sequence[str], want: Sequence[str], ordered: bool = True) -> list[int]:
    """For each name in `have` its id in `want`: by name, if need be whatever the case, or else by number.

    Plain numbers ('0', '1') and the placeholders that transformers writes ('LABEL_0') name nothing. Numbers in the
    data are ids if 0 is among them: who counts from 1 means something else. A model with placeholders alone gets as
    many names in their order, unless `ordered` is False. Raises TrimformerError where none of this works.
    """
    exact = {name: i for i, name in enumerate(want)}
    if all(name in exact for name in have):
        return [exact[name] for name in have]
    folded = {name.casefold(): i for i, name in enumerate(want)}
    ids = [folded[name.casefold()] for name in have if name.casefold() in folded]
    if len(folded) == len(want) and len(set(ids)) == len(have):
        return ids
    numbers = [n for name in have if (n := _placeholder(name)) is not None]
    nameless = all(_placeholder(name) == i for i, name in enumerate(want))
    if len(numbers) == len(have):
        if 0 in numbers and max(numbers) < len(want) and (nameless or len(have) == len(want)):
            return numbers
    elif nameless and ordered and len(have) == len(want):
        return list(range(len(have)))
    remedy = "the model names none, so write the right names into" if nameless else "rename the labels in the data or"
    raise TrimformerError(
        f"The labels of the data ({shown(have)}) are not those of the model ({shown(want)}): "
        f"{remedy} id2label in the model's config.json."
    )


def number(label: str) -> float | None:
    """The label as a finite number, or None."""
    try:
        value = float(label)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def shown(names: Sequence[str]) -> str:
    """At most ten names for a message."""
    return ", ".join(names[:10]) + (f", … {len(names)} in all" if len(names) > 10 else "")


def is_span_tag(tag: str) -> bool:
    """O, B-X or I-X."""
    return _SPAN_TAG.fullmatch(tag) is not None


def is_span_tagging(labels: Iterable[str]) -> bool:
    """Whether the labels are O and B-X/I-X, with at least one type X."""
    names = set(labels)
    return bool(names - {"O"}) and all(is_span_tag(name) for name in names)


def _placeholder(name: str) -> int | None:
    match = re.fullmatch(r"(?:LABEL_)?(\d+)", name)
    return int(match[1]) if match else None
