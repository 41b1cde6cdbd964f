"""What the names of labels say: their order, their ids in a model, and whether they tag spans."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable, Sequence

from ..errors import TrimformerError
from ..saved.config import Facts

IOB_MARKS = "BI"
_SCHEMES = (IOB_MARKS, "BIES", "BILU")
"""The marks of span tags: IOB, BIOES and BILOU, in which L and U are what E and S are in BIOES."""

_AS_BIOES = str.maketrans("LU", "ES")
_WHOLE = re.compile(r"(-?[0-9]+)\.0+")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
"""What is written for a number in a table; Python's own reading takes 1_0, infinity and digits of any script, too."""
_TRUTH = {"false": "0", "true": "1"}


def spelling(label: str) -> str:
    """The label as Parquet and JSONL say it of a number or a truth value: '1' for '1.0', 'true' for 'True'.

    Letters and their accents are one character each where there is one (NFC): the same name may be written either way.
    """
    label = composed(label)
    if label.lower() in _TRUTH:
        return label.lower()
    whole = _WHOLE.fullmatch(label)
    return whole[1] if whole else label


def composed(name: str) -> str:
    """A name without blanks at its ends, in Unicode's composed form (NFC)."""
    return unicodedata.normalize("NFC", name.strip())


def spellings(labels: Sequence[str]) -> list[str]:
    """Each label in its one spelling; 'true' and 'false' are '1' and '0' where these are the other labels."""
    found = [spelling(label) for label in labels]
    used = set(found)
    if used <= {*_TRUTH, *_TRUTH.values()} and used & {*_TRUTH} and used - {*_TRUTH}:
        return [_TRUTH.get(label, label) for label in found]
    return found


def as_numbers(labels: Sequence[str]) -> Sequence[str]:
    """Truth values, where there are no other labels, as 1 and 0; others as they are."""
    return [_TRUTH[label] for label in labels] if set(labels) <= set(_TRUTH) else labels


def class_names(labels: Sequence[str]) -> tuple[str, ...]:
    """The different labels: in the order of their numbers if all are numbers, else alphabetically."""
    names = sorted(set(labels))
    if all(number(name) is not None for name in names):
        names.sort(key=float)
    return tuple(names)


def names_of(config: Facts) -> Sequence[str]:
    """The label names of a model by id; none where its only output is said to be a number."""
    return () if config.problem_type == "regression" else config.label_names


def nameless(names: Sequence[str]) -> bool:
    """Whether these are the ids in their order, or the placeholders that transformers writes ('LABEL_0')."""
    return all(_placeholder(name) == i for i, name in enumerate(names))


def taken_for(labels: Sequence[str]) -> str:
    """The sentence on a head that names no labels and was given these."""
    return f"The checkpoint's head names no labels; its outputs were taken to be {shown(labels)}, in order."


def is_score_of_one(names: Sequence[str], labels: Sequence[str]) -> bool:
    """Whether a head with these names has one output for the labels 0 and 1, or false and true, as rerankers have."""
    return len(names) == 1 and [*map(number, as_numbers(labels))] == [0, 1]


def match_labels(have: Sequence[str], want: Sequence[str], ordered: bool = True) -> list[int]:
    """For each name in `have` its id in `want`: by name, if need be whatever the case, or else by number.

    Plain numbers ('0', '1') and the placeholders that transformers writes ('LABEL_0') name nothing. Numbers in the
    data are ids if none of them is one of the names, 0 is among them, for who counts from 1 means something else,
    and so is the last id, unless the model has placeholders alone: 0 and 1 are not the first two of three names. A
    model with placeholders alone gets as many names in their order, unless `ordered` is False. Raises
    TrimformerError where none of this works.
    """
    known, spelled = want, [spelling(name) for name in want]
    have = [spelling(name) for name in have]
    want = spelled if len(set(spelled)) == len(want) else want
    exact = {name: i for i, name in enumerate(want)}
    if all(name in exact for name in have):
        return [exact[name] for name in have]
    folded = {name.casefold(): i for i, name in enumerate(want)}
    ids = [folded[name.casefold()] for name in have if name.casefold() in folded]
    if len(folded) == len(want) and len(set(ids)) == len(have):
        return ids
    numbers = [n for name in have if (n := _placeholder(name)) is not None]
    unnamed = nameless(want)
    if len(numbers) == len(have) and not any(name in exact for name in have):
        if 0 in numbers and max(numbers) < len(want) and (unnamed or max(numbers) == len(want) - 1):
            return numbers
    elif unnamed and ordered and len(have) == len(want):
        return list(range(len(have)))
    remedy = "the model names none, so write the right names into" if unnamed else "rename the labels in the data or"
    raise TrimformerError(
        f"The labels of the data ({shown(have)}) are not those of the model ({shown(known)}): "
        f"{remedy} id2label in the model's config.json."
    )


def number(label: str) -> float | None:
    """The label as a finite number, or None."""
    if not _NUMBER.fullmatch(label.strip()):
        return None
    value = float(label)
    return value if math.isfinite(value) else None


def shown(names: Sequence[str]) -> str:
    """At most ten names for a message."""
    return ", ".join(names[:10]) + (f", … {len(names)} in all" if len(names) > 10 else "")


def is_span_tag(tag: str) -> bool:
    """O, or a mark of one of the schemes and a type: B-X."""
    return tag == "O" or (tag[:1] in "BIESLU" and tag[1:2] == "-" and len(tag) > 2)


def is_iob_tag(tag: str) -> bool:
    """O, B-X or I-X."""
    return is_span_tag(tag) and tag[0] in f"O{IOB_MARKS}"


def span_marks(labels: Iterable[str]) -> str | None:
    """The marks of the scheme that these tags have, None where they are no tags of spans.

    'BI' for O, B-X and I-X; 'BIES' or 'BILU' where other marks of BIOES or BILOU are among them, and O is or, where no
    word is outside, spans begin and end.
    """
    names = set(labels)
    if not names - {"O"} or not all(map(is_span_tag, names)):
        return None
    used = {name[0] for name in names - {"O"}}
    marks = next((marks for marks in _SCHEMES if used <= set(marks)), None)
    return marks if marks == IOB_MARKS or "O" in names or (marks and _begin_and_end(names, marks)) else None


def _begin_and_end(names: set[str], marks: str) -> bool:
    """Whether spans of some type begin and end in more than one word, and none of any type begins or ends alone."""
    end = marks[2]
    types: dict[str, set[str]] = {}
    for name in names:
        types.setdefault(name[2:], set()).add(name[0])
    whole = all(("B" in used) == (end in used) and ("I" not in used or "B" in used) for used in types.values())
    return whole and any("B" in used for used in types.values())


def as_bioes(tag: str) -> str:
    """The tag of a span with the mark that BIOES has for it; 'O' for what is none."""
    return tag[0].translate(_AS_BIOES) + tag[1:] if is_span_tag(tag) else "O"


def _placeholder(name: str) -> int | None:
    match = re.fullmatch(r"(?:LABEL_)?([0-9]+)", name)
    return int(match[1]) if match else None
