"""Tagged sentences from a dataset on the hub."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ...errors import TrimformerError
from ..data import did_you_mean
from ..tables.tagged import Tagged, Word, gather
from .hub import open_split


def read_hub(dataset: str, config: str | None, split: str, column: str, **more: str) -> Tagged:
    """The words in column 'tokens' with the tags in `column`: names, or ids whose names the dataset knows.

    Words tagged '_' are left out: Universal Dependencies has them for multi-word tokens beside their parts. Raises
    TrimformerError if the dataset cannot be loaded or lacks a column.
    """
    loaded = open_split(dataset, config, split, **more)
    for name in ("tokens", column):
        if name not in loaded.column_names:
            have = list(loaded.column_names)
            raise TrimformerError(
                f"The hub dataset {dataset} has no column '{name}', only {', '.join(have)}: "
                f"choose another one.{did_you_mean(name, have)}"
            )
    names = getattr(getattr(loaded.features[column], "feature", None), "names", None)
    return gather(Path(dataset) / f"{config or column}:{split}", _words(loaded, column, names), unit="row")


def _words(loaded: Any, column: str, names: list[str] | None) -> Iterator[Word | None]:
    for row, (tokens, tags) in enumerate(zip(loaded["tokens"], loaded[column], strict=True), 1):
        for token, tag in zip(tokens, tags, strict=True):
            name = "_" if tag is None else str(tag) if names is None else names[tag]
            if name != "_":
                yield Word(token, name, row)
        yield None
