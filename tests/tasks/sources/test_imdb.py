from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pytest

from tests.tasks.helpers import like
from trimformer.errors import TrimformerError
from trimformer.tasks.data import Examples
from trimformer.tasks.settings import TaskSettings
from trimformer.tasks.sources.imdb import load, load_validation

Write = Callable[[str, str], Path]


def settings(data: Path | str | None = None) -> TaskSettings:
    return TaskSettings(name="imdb", data=None if data is None else str(data))


def reviews(write: Write, half: str, rows: int = 2) -> Path:
    for i in range(rows):
        write(f"aclImdb/{half}/neg/{i}_2.txt", f"bad {half} {i}<br /><br />really")
        path = write(f"aclImdb/{half}/pos/{i}_9.txt", f"good {half} {i}")
    return path.parents[3]


def test_folder_as_published(write: Write) -> None:
    reviews(write, "train")
    folder = reviews(write, "test", 1)
    write("aclImdb/train/unsup/0_0.txt", "unlabelled")
    write("aclImdb/train/urls_neg.txt", "http://nowhere")
    task, train, test = load(settings(folder))
    assert train.texts == ["bad train 0\n\nreally", "bad train 1\n\nreally", "good train 0", "good train 1"]
    assert (train.labels, train.pairs, task.labels) == ([0, 0, 1, 1], None, ("negative", "positive"))
    assert test == Examples(["bad test 0\n\nreally", "good test 0"], None, [0, 1])
    assert (task.metrics, task.kind) == (("accuracy",), "classification")
    assert task.source == f"IMDB from {folder}; validation: its test half"
    assert load(settings(folder / "aclImdb"))[1:] == (train, test)


def test_validation_needs_no_training_half(write: Write) -> None:
    task, test = load_validation(settings(reviews(write, "test")))
    assert (task.name, test.labels) == ("imdb", [0, 0, 1, 1])


def test_tables(write: Write) -> None:
    write("train_2.tsv", 'id\tlabel\trating\ttext\n0\t0\t2\t"bad<br />indeed\n1\t1\t9\tgood\n')
    folder = write("test.tsv", "text\tlabel\nso\tpos\n").parent
    _, train, test = load(settings(folder))
    assert train == Examples(['"bad\nindeed', "good"], None, [0, 1])
    assert test == Examples(["so"], None, [1])


def test_real_files(shared_data: Path) -> None:
    _, train, test = load(settings(shared_data / "imdb"))
    assert (len(train), len(test)) == (5000, 5000)
    assert train.labels.count(1) == test.labels.count(1) == 2500
    assert train.texts[0].startswith("Story of a man who has unnatural feelings for a pig.")
    assert not any("<br />" in text for text in train.texts)
    assert sum("\n" in text for text in train.texts) > 2000


def test_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def load_dataset(dataset: str, config: str | None, split: str) -> datasets.Dataset:
        asked.append((dataset, config, split))
        features = datasets.Features(text=datasets.Value("string"), label=datasets.ClassLabel(names=["neg", "pos"]))
        return datasets.Dataset.from_dict({"text": ["a<br />b", "c"], "label": [0, 1]}, features=features)

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    task, train, _ = load(settings())
    assert asked == [("stanfordnlp/imdb", None, "train"), ("stanfordnlp/imdb", None, "test")]
    assert train == Examples(["a\nb", "c"], None, [0, 1])
    assert "stanfordnlp/imdb" in task.source


def test_hub_out_of_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    def load_dataset(*_: Any, **__: Any) -> None:
        raise ConnectionError("no route\nmore lines")

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    with pytest.raises(
        TrimformerError, match=r"me/imdb is not a folder here, and the test split .*\(no route\): set task\.data"
    ):
        load_validation(settings("me/imdb"))


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "has neither a folder test with neg and pos nor a file test.tsv (plain or .gz) for IMDB: add one"),
        ({"test/pos/0_9.txt": "good"}, "test/neg holds no .txt files: put the negative reviews of IMDB there"),
        ({"test/neg/0_2.txt": "bad", "test/pos/0_9.text": "good"}, "test/pos holds no .txt files"),
        ({"test/neg/0_2.txt": "bad", "test/pos/0_9.txt": "a\nb\udcff"}, "test/pos/0_9.txt is not UTF-8 at line 2"),
        ({"test.tsv": "label\ttext\n0\ta\n2\tb\n"}, "line 3 of …test.tsv, the label '2' is not among the known labels"),
        ({"test.tsv": "label\treview\n0\ta\n"}, "test.tsv has no column 'text': name one of its own (label, review)"),
        ({"test.tsv": "label\ttext\n0\ta\tb\n"}, "The row in line 2 of …test.tsv has 3 columns where 2 are expected"),
        ({"test.tsv": "", "test_5k.tsv": ""}, "holds both test.tsv and test_5k.tsv: remove one of them"),
    ],
)
def test_bad_input(tmp_path: Path, files: dict[str, str], message: str) -> None:
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(TrimformerError, match=like(message)):
        load_validation(settings(tmp_path))
    with pytest.raises(TrimformerError, match=r"The folder .*no/such of task.data does not exist"):
        load_validation(settings(tmp_path / "no" / "such"))
