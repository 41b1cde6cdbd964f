import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pytest

from trimformer.errors import TrimformerError
from trimformer.tasks import TaskSettings, load_task, load_validation

Write = Callable[[str, str], Path]

# Task, folder, rows in train and dev as its README states, a dev text, that row's label.
REAL = [
    ("cola", "glue", 8551, 1043, "The sailors rode the breeze clear of the rocks.", 1),
    ("sst2", "glue/SST-2", 67349, 872, "it 's a charming and often affecting journey . ", 1),
    ("mrpc", "glue", 3668, 408, "He said the foodservice pie business doesn't fit the company's", 1),
    ("stsb", "glue", 5749, 1500, "A man with a hard hat is dancing.", 5.0),
    ("rte", "glue", 2490, 277, "Dana Reeve, the widow of the actor Christopher Reeve, has died", 1),
    ("wnli", "glue", 635, 71, "The drain is clogged with hair.", 0),
    ("mnli", "mnli_subset", 3000, 7469, "right that's that's supposedly", 1),
    ("qqp", "qqp_subset", 2000, 7600, "What are the best franchises in India?", 1),
]


@pytest.mark.parametrize(("name", "folder", "train", "dev", "text", "label"), REAL)
def test_real_files(shared_data: Path, name: str, folder: str, train: int, dev: int, text: str, label: float) -> None:
    data = load_task(TaskSettings(name=name, data=str(shared_data / folder)))
    assert (len(data.train) + len(data.selection), len(data.validation)) == (train, dev)
    assert data.validation.texts[0].startswith(text)
    assert data.validation.labels[0] == label
    assert (data.train.pairs is None) == (name in ("cola", "sst2"))


def test_real_qnli_has_no_train(shared_data: Path) -> None:
    settings = TaskSettings(name="qnli", data=str(shared_data / "glue"))
    with pytest.raises(TrimformerError, match=r"QNLI has no train\.tsv \(plain or \.gz\) for GLUE QNLI; add"):
        load_task(settings)
    task, examples = load_validation(settings, labels=["NOT_ENTAILMENT", "ENTAILMENT"])
    assert (task.labels[examples.labels[0]], len(examples)) == ("ENTAILMENT", 5463)  # type: ignore[index]


def test_first_metrics() -> None:
    from trimformer.tasks.glue import TASKS

    first = {name: glue.metrics[0] for name, glue in TASKS.items()}
    assert first.pop("cola") == "matthews"
    assert first.pop("stsb") == "pearson"
    assert set(first.values()) == {"accuracy"}
    assert TASKS["mrpc"].metrics == TASKS["qqp"].metrics == ("accuracy", "f1")


def test_original_layouts(write: Write) -> None:
    """MNLI's dev_matched and gold_label, QQP's broken rows, as in the files that GLUE publishes."""
    head = "index\tsentence1\tsentence2\tlabel1\tgold_label\n"
    write("MNLI/train.tsv", head + "0\ta\tb\tneutral\tcontradiction\n" * 20 + "1\ta\tb\tneutral\tneutral\n" * 20)
    folder = write("MNLI/dev_matched.tsv", head + "0\tc\td\tneutral\tentailment\n").parent.parent
    data = load_task(TaskSettings(name="mnli", data=str(folder)))
    assert (data.validation.pairs, data.validation.labels) == (["d"], [0])
    head = "id\tquestion1\tquestion2\tis_duplicate\n"
    write("QQP/train.tsv", head + "0\ta\tb\t1\n" * 10 + "broken\n" + "0\ta\tb\t0\n" * 10)
    write("QQP/dev.tsv", head + "0\ta\tb\t1\n")
    data = load_task(TaskSettings(name="qqp", data=str(folder)))
    assert len(data.train) + len(data.selection) == 20
    assert "1 broken rows left out" in data.task.source


def test_wrong_files(tmp_path: Path, write: Write) -> None:
    write("train.tsv", "sentence\tlabel\na\t1\n")
    with pytest.raises(TrimformerError, match=r"train\.tsv, line 1: 2 columns where 4 are expected"):
        load_task(TaskSettings(name="cola", data=str(tmp_path)))
    with pytest.raises(TrimformerError, match=r"train\.tsv has no column 'question'; .*\(sentence, label\)"):
        load_task(TaskSettings(name="qnli", data=str(tmp_path)))
    with pytest.raises(TrimformerError, match=r"has no dev\.tsv"):
        load_task(TaskSettings(name="sst2", data=str(tmp_path)))
    write("dev.tsv", "sentence\tlabel\na\t2\n")
    message = "dev.tsv, line 2: label '2' is not among the known labels (negative, positive)"
    with pytest.raises(TrimformerError, match=re.escape(message)):
        load_task(TaskSettings(name="sst2", data=str(tmp_path)))
    with pytest.raises(TrimformerError, match=r"the folder .*nowhere does not exist"):
        load_task(TaskSettings(name="sst2", data=str(tmp_path / "nowhere")))


def hub(rows: int, names: list[str]) -> datasets.Dataset:
    columns: dict[str, Any] = {
        "sentence": [f"s{i}" for i in range(rows)],
        "label": [i % 2 for i in range(rows)],
    }
    features = datasets.Features(sentence=datasets.Value("string"), label=datasets.ClassLabel(names=names))
    return datasets.Dataset.from_dict(columns, features=features)


def test_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def load_dataset(dataset: str, config: str, split: str) -> datasets.Dataset:
        asked.append((dataset, config, split))
        return hub(20, ["positive", "negative"])

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    data = load_task(TaskSettings(name="sst2"))
    assert asked == [("nyu-mll/glue", "sst2", "train"), ("nyu-mll/glue", "sst2", "validation")]
    assert data.task.labels == ("negative", "positive")
    assert data.validation.labels[:2] == [1, 0]


def test_hub_out_of_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    def load_dataset(*_: Any, **__: Any) -> None:
        raise ConnectionError("no route\nmore lines")

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    with pytest.raises(TrimformerError, match=r"me/glue is no folder here, .*cannot be loaded \(no route\); give"):
        load_task(TaskSettings(name="mnli", data="me/glue"))
