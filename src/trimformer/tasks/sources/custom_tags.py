"""The user's own tagged sentences: JSONL and Parquet with lists, .conll with two columns, CoNLL-U."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from ...errors import TrimformerError
from ..data import Examples, Task
from ..labels import IOB_MARKS, span_marks
from ..settings import TaskSettings
from ..tables.columns import CONLLU_TAGS, TOKEN_TAG, read_columns, read_conllu, tag_column
from ..tables.files import DELIMITED, LISTS, Table, ending, read_table, unit
from ..tables.iob import Scheme, to_iob2
from ..tables.tagged import Tagged, Word, gather
from .tag_labels import from_train, from_validation

ENDINGS = (".conll", ".conll.gz", ".conllu", ".conllu.gz")
"""Endings of files that hold tagged words only; tables have the endings in files.ENDINGS."""

TOKENS, TAGS = "tokens", "tags"
"""The columns of a table unless task.text and task.label name others."""


def load(train: Path, validation: Path | None, settings: TaskSettings) -> tuple[Task, Examples, Examples | None]:
    """The task with the tags of the training file; its rows and, if there is a validation file, those of that.

    Without task.scheme, tags that look like spans (O, B-X, I-X) must be IOB2. Raises TrimformerError for
    everything that is wrong with the files.
    """
    sentences = read_tagged(train, settings)
    others = None if validation is None else read_tagged(validation, settings)
    scheme = _scheme(settings, sentences)
    if scheme is not None:
        sentences = to_iob2(sentences, scheme)
        others = None if others is None else to_iob2(others, scheme)
    source = f"train: {train}" + ("" if validation is None else f"; validation: {validation}")
    return from_train("custom", source, sentences, others)


def load_validation(path: Path, settings: TaskSettings, labels: Sequence[str] | None) -> tuple[Task, Examples]:
    """The task with the tags of a validation file alone, and its rows; `labels`: see `from_validation`."""
    sentences = read_tagged(path, settings)
    scheme = _scheme(settings, sentences)
    if scheme is not None:
        sentences = to_iob2(sentences, scheme)
    return from_validation("custom", f"validation: {path}", sentences, labels)


def read_tagged(path: Path, settings: TaskSettings) -> Tagged:
    """The sentences of one file, read by its ending, with the tags as written."""
    kind = ending(path)
    given = [field for field in ("text", "label") if getattr(settings, field) is not None]
    if kind in ("conll", "conllu") and given:
        raise TrimformerError(f"The setting task.{given[0]} names a column of a table, which {path} is not: remove it.")
    if kind != "conllu" and settings.tags is not None:
        raise TrimformerError(
            f"The setting task.tags has no meaning for {path}: remove it, or name a table's column in task.label."
        )
    if kind == "conll":
        return read_columns(path, TOKEN_TAG, "tag")
    if kind == "conllu":
        return read_conllu(path, tag_column(settings.tags, CONLLU_TAGS))
    if kind in DELIMITED:
        raise TrimformerError(
            f"The file {path} cannot hold lists of tokens and tags: use .jsonl or .parquet, or .conll with a token and "
            "a tag a line."
        )
    table = read_table(path, (*LISTS, *ENDINGS))
    return gather(path, _table_words(table, settings.text or TOKENS, settings.label or TAGS), unit(path))


def _scheme(settings: TaskSettings, tagged: Tagged) -> Scheme | None:
    return settings.scheme or ("iob2" if span_marks(tagged.tags()) == IOB_MARKS else None)


def _table_words(table: Table, tokens_name: str, tags_name: str) -> Iterator[Word | None]:
    columns = _lists(table, tokens_name), _lists(table, tags_name)
    for row, (tokens, tags) in enumerate(zip(*columns, strict=True)):
        if len(tokens) != len(tags):
            raise TrimformerError(
                f"In {table.where(row)}, there are {len(tokens)} {tokens_name} but {len(tags)} {tags_name}: give every "
                "token one tag."
            )
        for token, tag in zip(tokens, tags, strict=True):
            if not isinstance(token, str):
                raise TrimformerError(
                    f"In {table.where(row)}, the token {token!r} is not a string: write it in quotes."
                )
            if not isinstance(tag, str | int) or isinstance(tag, bool) or not str(tag).strip():
                raise TrimformerError(
                    f"In {table.where(row)}, the tag {tag!r} of '{token}' is neither a name nor an integer: correct it."
                )
            yield Word(token, str(tag), table.lines[row])
        yield None


def _lists(table: Table, name: str) -> list[list[object]]:
    lists = []
    for row, cell in enumerate(table.column(name)):
        if not isinstance(cell, list) or not cell:
            raise TrimformerError(
                f"In {table.where(row)}, the column '{name}' holds no list with something in it: fill it in or remove "
                "the row."
            )
        lists.append(cell)
    return lists
