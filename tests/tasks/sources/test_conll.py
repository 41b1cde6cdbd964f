"""The named tagging tasks, from folders and from the hub."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pytest

from tests.tasks.helpers import like
from trimformer.errors import TrimformerError
from trimformer.tasks.settings import TaskSettings
from trimformer.tasks.sources import conll
from trimformer.tasks.task import load_validation

Write = Callable[[str, str], Path]

TRAIN = "EU NNP I-NP I-ORG\nrejects VBZ I-VP O\n\nPeter NNP I-NP I-PER\nB. NNP I-NP I-PER\n"
SPANS = ("f1", "precision", "recall", "accuracy")

# Task, tags, folder; sentences and words of train and validation as the data's README states; labels; metrics.
REAL = [
    ("conll2003", None, "conll2003", (14041, 203621, 3250, 51362), 9, SPANS),
    ("conll2003", "chunk", "conll2003", (14041, 203621, 3250, 51362), 21, SPANS),
    ("ud", "xpos", "ud_english_ewt", (12544, 204577, 2001, 25147), 49, ("accuracy",)),
    ("treebank", None, "ptb_sample", (3262, 78539, 314, 7638), 45, ("accuracy",)),
]


def load(name: str, data: Path, **more: Any) -> Any:
    return conll.load(TaskSettings(name=name, data=str(data), **more))


@pytest.mark.parametrize(("name", "tags", "folder", "sizes", "labels", "metrics"), REAL)
def test_real_files(
    shared_data: Path,
    name: str,
    tags: str | None,
    folder: str,
    sizes: tuple[int, ...],
    labels: int,
    metrics: tuple[str, ...],
) -> None:
    task, train, validation = load(name, shared_data / folder, tags=tags)
    assert (len(train), sum(map(len, train.texts)), len(validation), sum(map(len, validation.texts))) == sizes
    assert (task.kind, len(task.labels), task.metrics) == ("tokens", labels, metrics)
    assert all(len(words) == len(tags) for words, tags in zip(train.texts, train.labels, strict=True))


def test_real_trees_hold_what_the_real_columns_hold(shared_data: Path, tmp_path: Path) -> None:
    sample = shared_data / "ptb_sample"
    (tmp_path / "wsj_sample.combined.mrg.gz").symlink_to(sample / "wsj_sample.combined.mrg.gz")
    assert load("treebank", tmp_path)[1:] == load("treebank", sample)[1:]


def test_spans_are_iob2_with_all_labels(write: Write) -> None:
    write("eng.train", TRAIN)
    folder = write("eng.testa", "Ann NNP I-NP I-PER\n").parent
    task, train, validation = load("conll2003", folder)
    assert task.labels == ("O", "B-ORG", "B-PER", "I-ORG", "I-PER")
    assert train.texts == [("EU", "rejects"), ("Peter", "B.")]
    assert train.labels == [(1, 0), (2, 4)]
    assert (validation.texts, validation.labels) == ([("Ann",)], [(2,)])
    assert task.source == f"CoNLL-2003 ner tags from {folder}"
    settings = TaskSettings(name="conll2003", data=str(folder), tags="pos")
    task, train, _ = conll.load(settings)
    assert (task.labels, task.metrics, train.labels) == (("NNP", "VBZ"), ("accuracy",), [(0, 1), (0, 0)])


def test_files_that_are_iob2_already(write: Write) -> None:
    write("train.txt", TRAIN.replace("I-PER", "B-PER"))
    folder = write("valid.txt", TRAIN).parent
    with pytest.raises(TrimformerError, match=r"line 4 of .*train\.txt, 'B-PER' does not follow .* task\.scheme: iob2"):
        load("conll2003", folder)
    with pytest.raises(TrimformerError, match=r"line 1 of .*valid\.txt, 'I-ORG' does not follow .* task\.scheme: iob1"):
        conll.load_validation(TaskSettings(name="conll2003", data=str(folder), scheme="iob2"), None)
    write("train.txt", TRAIN.replace("EU NNP I-NP I-", "EU NNP I-NP B-").replace("r NNP I-NP I-", "r NNP I-NP B-"))
    write("valid.txt", "x NNP I-NP B-PER\n")
    assert load("conll2003", folder, scheme="iob2")[1].labels == [(1, 0), (2, 4)]


def test_tag_that_train_does_not_know(write: Write) -> None:
    write("train.tsv", "a\tNN\nb\tVB\n")
    folder = write("validation.mrg", "((NN a))\n((S (VB b)\n (NNS c)))\n").parent
    message = "line 3 of …validation.mrg, the tag 'NNS' is not among the known tags (NN, VB): …. Did you mean 'NN'?"
    with pytest.raises(TrimformerError, match=like(message)):
        load("treebank", folder)


def test_validation_follows_the_labels_of_a_model(write: Write) -> None:
    folder = write("eng.testa", TRAIN).parent
    settings = TaskSettings(name="conll2003", data=str(folder))
    task, examples = load_validation(settings, None)
    assert (task.labels, examples.labels) == (("O", "B-ORG", "B-PER", "I-ORG", "I-PER"), [(1, 0), (2, 4)])
    task, examples = load_validation(settings, ["I-PER", "b-per", "B-LOC", "B-ORG", "O"])
    assert (task.labels, examples.labels) == (("I-PER", "B-PER", "B-LOC", "B-ORG", "O"), [(3, 4), (1, 0)])
    with pytest.raises(TrimformerError, match="the model names none, so write the right names into id2label"):
        load_validation(settings, [f"LABEL_{i}" for i in range(4)])
    with pytest.raises(TrimformerError, match=r"line 1 of .*eng\.testa, the tag 'B-ORG' is not among the known tags"):
        load_validation(settings, ["O", "B-PER", "I-PER"])
    with pytest.raises(TrimformerError, match=r"labels of the data .* are not those of the model \(no, yes\)"):
        load_validation(settings, ["no", "yes"])


def test_several_treebanks_in_one_folder(write: Write) -> None:
    write("en_ewt-ud-train.conllu", "")
    folder = write("en_gum-ud-train.conllu", "").parent
    with pytest.raises(TrimformerError, match=r"holds both en_ewt-ud-train\.conllu and en_gum-ud-train\.conllu"):
        load("ud", folder)


@pytest.mark.parametrize(
    ("name", "more", "message"),
    [
        ("conll2003", {}, "has no eng.train or train.txt (plain or .gz) for CoNLL-2003: add the file or set task.data"),
        ("treebank", {}, "has no train.tsv or train.mrg or wsj_sample.tok_pos.tsv or wsj_sample.combined.mrg"),
        (
            "treebank",
            {"data": None},
            "The data of treebank are not on the hub: set task.data to a folder with train.tsv or",
        ),
        ("ud", {"data": "no/such/folder"}, "The folder no/such/folder of task.data does not exist"),
        (
            "ud",
            {"tags": "upso"},
            "task.tags names 'upso', but the columns of tags are upos, xpos: name one of them. Did you mean 'upos'?",
        ),
        ("conll2003", {"tags": "upos"}, "the columns of tags are ner, pos, chunk"),
        ("conll2003", {"tags": "pos", "scheme": "iob1"}, "task.scheme has no meaning for the pos tags of conll2003"),
    ],
)
def test_wrong_settings(tmp_path: Path, name: str, more: dict[str, Any], message: str) -> None:
    with pytest.raises(TrimformerError, match=re.escape(message)):
        conll.load(TaskSettings(name=name, **{"data": str(tmp_path), **more}))


def hub(monkeypatch: pytest.MonkeyPatch, columns: dict[str, Any], **features: Any) -> list[Any]:
    """Let every hub dataset have these columns; what is asked for is noted down."""
    asked = []

    def load_dataset(*place: str | None, **more: str) -> datasets.Dataset:
        asked.append((*place, more))
        features["tokens"] = datasets.List(datasets.Value("string"))
        return datasets.Dataset.from_dict(columns, features=datasets.Features(features))

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    return asked


def test_hub_spans(monkeypatch: pytest.MonkeyPatch) -> None:
    ids = datasets.List(datasets.ClassLabel(names=["O", "B-PER", "I-PER"]))
    columns = {"tokens": [["Ann", "B."], ["x"]], "ner_tags": [[1, 2], [0]]}
    asked = hub(monkeypatch, columns, ner_tags=ids)
    task, train, validation = conll.load(TaskSettings(name="conll2003"))
    assert asked == [
        ("eriktks/conll2003", None, {"split": "train", "revision": "refs/convert/parquet"}),
        ("eriktks/conll2003", None, {"split": "validation", "revision": "refs/convert/parquet"}),
    ]
    assert (task.labels, train.labels, validation) == (("O", "B-PER", "I-PER"), [(1, 2), (0,)], train)
    assert task.source == "CoNLL-2003 ner tags from eriktks/conll2003"
    with pytest.raises(TrimformerError, match=r"me/ner has no column 'chunk_tags', only tokens, ner_tags: choose"):
        conll.load(TaskSettings(name="conll2003", data="me/ner", tags="chunk"))
    assert asked[2] == ("me/ner", None, {"split": "train"})


def test_hub_words_that_are_only_split(monkeypatch: pytest.MonkeyPatch) -> None:
    upos = datasets.List(datasets.ClassLabel(names=["AUX", "PART", "_"]))
    columns = {"tokens": [["don't", "do", "n't"]], "upos": [[2, 0, 1]], "xpos": [[None, "VBP", "RB"]]}
    asked = hub(monkeypatch, columns, upos=upos, xpos=datasets.List(datasets.Value("string")))
    _, train, _ = conll.load(TaskSettings(name="ud"))
    assert (train.texts, train.labels) == ([("do", "n't")], [(0, 1)])
    assert asked[0][:2] == ("universal-dependencies/universal_dependencies", "en_ewt")
    assert conll.load(TaskSettings(name="ud", tags="xpos"))[0].labels == ("RB", "VBP")
