"""The tagging tasks: CoNLL-2003, Universal Dependencies and the Penn Treebank, from their original files or the hub."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...errors import TrimformerError
from ..data import Examples, MissingRows, Task
from ..settings import TaskSettings
from ..tables.columns import (
    CONLL2003,
    CONLL2003_TAGS,
    CONLLU_TAGS,
    read_columns,
    read_conllu,
    tag_column,
)
from ..tables.iob import to_iob2
from ..tables.tagged import Tagged
from .hub import local_folder
from .tag_hub import read_hub
from .tag_labels import from_train, from_validation
from .treebank import of_files, read_trees


@dataclass(frozen=True)
class Corpus:
    """One task: its columns of tags, the default first; its files (patterns); its dataset on the hub."""

    title: str
    tags: tuple[str, ...]
    train: tuple[str, ...]
    validation: tuple[str, ...]
    read: Callable[[Path, str], Tagged]
    hub: str | None = None
    hub_config: str | None = None
    hub_columns: str = "{}"
    spans: tuple[str, ...] = ()
    sample: tuple[str, ...] = ()


def _read_treebank(path: Path, tag: str) -> Tagged:
    return (
        read_trees(path) if path.name.removesuffix(".gz").endswith(".mrg") else read_columns(path, ("token", tag), tag)
    )


TASKS = {
    "conll2003": Corpus(
        "CoNLL-2003",
        CONLL2003_TAGS,
        train=("eng.train", "train.txt"),
        validation=("eng.testa", "valid.txt"),
        read=lambda path, tag: read_columns(path, CONLL2003, tag),
        hub="eriktks/conll2003",
        hub_columns="{}_tags",
        spans=("ner", "chunk"),
    ),
    "ud": Corpus(
        "Universal Dependencies",
        CONLLU_TAGS,
        train=("*-ud-train.conllu",),
        validation=("*-ud-dev.conllu",),
        read=read_conllu,
        hub="universal-dependencies/universal_dependencies",
        hub_config="en_ewt",
    ),
    "treebank": Corpus(
        "Penn Treebank",
        ("pos",),
        train=("train.tsv", "train.mrg"),
        validation=("validation.tsv", "validation.mrg"),
        read=_read_treebank,
        # NLTK's tenth of the treebank in one file, as tagged words or as trees.
        sample=("wsj_sample.tok_pos.tsv", "wsj_sample.combined.mrg"),
    ),
}

HUB_REVISION = "refs/convert/parquet"
"""The branch with the hub's own conversion: the main branch of old datasets is a script, which is never run."""

SAMPLE_PARTS = {"train": range(1, 151), "validation": range(151, 176)}
"""The WSJ files of each part of the sample; the rest, 176 to 199, is for testing."""


def load(settings: TaskSettings) -> tuple[Task, Examples, Examples | None]:
    """The task with its training and validation rows; raises TrimformerError where something is missing or wrong."""
    train, validation = _part(settings, "train"), _part(settings, "validation")
    return from_train(settings.name, _source(settings, train), train, validation)


def load_validation(settings: TaskSettings, labels: Sequence[str] | None) -> tuple[Task, Examples]:
    """The task with the tags of its validation sentences alone, and their rows; `labels`: see `from_validation`."""
    validation = _part(settings, "validation")
    return from_validation(settings.name, _source(settings, validation), validation, labels)


def _source(settings: TaskSettings, tagged: Tagged) -> str:
    corpus = TASKS[settings.name]
    return f"{corpus.title} {tag_column(settings.tags, corpus.tags)} tags from {tagged.path.parent}"


def _part(settings: TaskSettings, part: str) -> Tagged:
    """The train or validation sentences, spans in IOB2."""
    corpus = TASKS[settings.name]
    tag = tag_column(settings.tags, corpus.tags)
    if settings.scheme is not None and tag not in corpus.spans:
        raise TrimformerError(
            f"The setting task.scheme has no meaning for the {tag} tags of {settings.name}, which do not mark spans: "
            "remove it."
        )
    folder = local_folder(settings.data)
    if folder is not None:
        tagged = _from_folder(corpus, folder, part, tag)
    elif corpus.hub is not None:
        dataset = settings.data or corpus.hub
        more = {"revision": HUB_REVISION} if dataset == corpus.hub else {}
        tagged = read_hub(dataset, corpus.hub_config, part, corpus.hub_columns.format(tag), **more)
    else:
        raise TrimformerError(
            f"The data of {settings.name} are not on the hub: set task.data to a folder with "
            f"{' or '.join(corpus.train + corpus.sample)} (plain or .gz)."
        )
    if tag not in corpus.spans:
        return tagged
    # The hub's copy was converted already.
    return to_iob2(tagged, settings.scheme or ("iob2" if folder is None else "iob1"))


def _from_folder(corpus: Corpus, folder: Path, part: str, tag: str) -> Tagged:
    wanted = corpus.train if part == "train" else corpus.validation
    found = _matching(folder, wanted)
    if len(found) > 1:
        raise TrimformerError(
            f"The folder {folder} holds both {found[0].name} and {found[1].name}: remove one of them."
        )
    if found:
        return corpus.read(found[0], tag)
    if samples := _matching(folder, corpus.sample):
        # Where both forms lie side by side they hold the same words.
        return of_files(corpus.read(samples[0], tag), SAMPLE_PARTS[part])
    raise MissingRows(
        f"The folder {folder} has no {' or '.join(wanted + corpus.sample)} (plain or .gz) for {corpus.title}: "
        "add the file or set task.data to the folder that holds it."
    )


def _matching(folder: Path, patterns: Sequence[str]) -> list[Path]:
    return [path for pattern in patterns for ending in ("", ".gz") for path in sorted(folder.glob(pattern + ending))]
