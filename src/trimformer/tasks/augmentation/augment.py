"""New rows, made once: they and what was done are kept in a file whose name says all that decides what is in it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ...errors import TrimformerError
from ...files import atomic_file, cache_folder
from ..data import Examples
from .base import Augmentation, New, fields_of
from .info import AugmentationInfo, Replaced

FORMAT = 1
"""Part of every file's name: raise it when the rows that an augmentation makes of the same ones become others."""
EXAMPLES = 3


class Augmented(NamedTuple):
    """rows: the new ones alone, each with None as its label. info: what was done."""

    rows: Examples
    info: AugmentationInfo


def augment(
    method: Augmentation, rows: Examples, held_out: Sequence[Examples] = (), *, cache: Path | None = None
) -> Augmented:
    """The new rows of these, none of which is among them or among those that are held out.

    cache: a folder, by default that of the tokenised texts. A broken file is made anew, and a folder that cannot be
    written is done without. Raises TrimformerError where no new row comes out.
    """
    file = (cache or cache_folder()) / f"augmented-{key(method, rows, held_out)}.jsonl"
    found = _read(file, rows.pairs is not None)
    if found is None:
        found = _made(method, rows, held_out)
        with contextlib.suppress(TrimformerError, OSError):
            _write(file, found)
    if not len(found.rows):
        raise TrimformerError(
            f"The augmentation {method.name} makes no new row of the training rows, because it finds no word in them "
            f"that it can replace ({'; '.join(method.sources().values())}): leave it out."
        )
    return found


def key(method: Augmentation, rows: Examples, held_out: Sequence[Examples] = ()) -> str:
    """A hash of the settings, of the files and weights that are read, of the rows, and of FORMAT."""
    digest = hashlib.sha256(f"{FORMAT} {method.name}".encode())
    for part in method.decides():
        digest.update(part if isinstance(part, bytes) else json.dumps(part, sort_keys=True).encode())
    for examples in (rows, *held_out):
        columns = json.dumps([examples.texts, examples.pairs])
        digest.update(f"\0{len(columns)}".encode() + columns.encode())
    return digest.hexdigest()[:32]


def _made(method: Augmentation, rows: Examples, held_out: Sequence[Examples]) -> Augmented:
    start = time.perf_counter()
    seen, forbidden = set(rows.keys()), set().union(*(examples.keys() for examples in held_out))
    kept: list[New] = []
    counts: Counter[str] = Counter()
    for new in method.make(rows):
        at = (new.fields[0].strip(), new.fields[1].strip() if len(new.fields) > 1 else None)
        if at in seen:
            counts["twice"] += 1
        elif at in forbidden:
            counts["held_out"] += 1
        else:
            seen.add(at)
            kept.append(new)
    replaced = Counter(source for new in kept for source in new.replaced)
    shown = np.linspace(0, len(kept) - 1, min(EXAMPLES, len(kept))).astype(int).tolist()
    info = AugmentationInfo(
        name=method.name,
        seed=method.settings.seed,
        rows=len(rows),
        new=len(kept),
        twice=counts["twice"],
        held_out=counts["held_out"],
        sources=method.sources(),
        replaced={source: replaced[source] for source in method.sources()},
        words=sum(new.words for new in kept),
        seconds=round(time.perf_counter() - start, 3),
        examples=[Replaced(before=list(fields_of(rows, kept[i].row)), after=list(kept[i].fields)) for i in shown],
    )
    pairs = None if rows.pairs is None else [new.fields[1] for new in kept]
    return Augmented(Examples([new.fields[0] for new in kept], pairs, [None] * len(kept)), info)


def _write(file: Path, found: Augmented) -> None:
    """What was done in the first line, then the new rows."""
    rows = found.rows
    columns = [rows.texts] if rows.pairs is None else [rows.texts, rows.pairs]
    with atomic_file(file) as temporary, temporary.open("w", encoding="utf-8") as opened:
        opened.write(found.info.model_dump_json() + "\n")
        opened.writelines(json.dumps(line) + "\n" for line in zip(*columns, strict=True))


def _read(file: Path, paired: bool) -> Augmented | None:
    """What was written; None where it is missing or broken."""
    try:
        with file.open(encoding="utf-8") as opened:
            info = AugmentationInfo.model_validate_json(opened.readline())
            columns = list(zip(*map(json.loads, opened), strict=True))
    except (OSError, ValueError):
        return None
    if len(columns) != 1 + paired or len(columns[0]) != info.new:
        return None
    texts, *pairs = map(list, columns)
    return Augmented(Examples(texts, pairs[0] if paired else None, [None] * len(texts)), info)
