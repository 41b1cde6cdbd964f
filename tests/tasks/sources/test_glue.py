from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pytest

from tests.tasks.helpers import like
from trimformer.errors import TrimformerError
from trimformer.tasks.settings import TaskSettings
from trimformer.tasks.sources.glue import TASKS
from trimformer.tasks.task import load_task, load_validation

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
    with pytest.raises(TrimformerError, match=r"QNLI has no train\.tsv \(plain or \.gz\) for GLUE QNLI: add"):
        load_task(settings)
    task, examples = load_validation(settings, labels=["NOT_ENTAILMENT", "ENTAILMENT"])
    assert (task.labels[examples.labels[0]], len(examples)) == ("ENTAILMENT", 5463)  # type: ignore[index]


def test_first_metrics() -> None:
    first = {name: glue.metrics[0] for name, glue in TASKS.items()}
    assert first.pop("cola") == "matthews"
    assert first.pop("stsb") == "pearson"
    assert set(first.values()) == {"accuracy"}
    assert TASKS["mrpc"].metrics == TASKS["qqp"].metrics == ("accuracy", "f1")


# Task: folder and dev file, a row as GLUE publishes it (column=cell; A and B are the texts, L is the label, ~ is a
# space), two labels as written and what they mean.
PARSES = "sentence1_binary_parse=x sentence2_binary_parse=x sentence1_parse=x sentence2_parse=x"
MNLI = f"index=0 promptID=1 pairID=2 genre=g {PARSES} sentence1=A sentence2=B label1=neutral gold_label=L"
SOURCES = "genre=g filename=f year=2012 old_index=1 source1=none source2=none"
LAYOUTS = {
    "cola": ("CoLA/dev", "source=gj04 label=L mark=* sentence=A", "1=acceptable 0=unacceptable"),
    "sst2": ("SST-2/dev", "sentence=A label=L", "1=positive 0=negative"),
    "mrpc": ("MRPC/dev", "Quality=L #1~ID=1 #2~ID=2 #1~String=A #2~String=B", "1=equivalent 0=not_equivalent"),
    "stsb": ("STS-B/dev", f"index=0 {SOURCES} sentence1=A sentence2=B score=L", "5.000=5.0 0.25=0.25"),
    "qqp": ("QQP/dev", "id=0 qid1=1 qid2=2 question1=A question2=B is_duplicate=L", "1=duplicate 0=not_duplicate"),
    "mnli": ("MNLI/dev_matched", MNLI, "entailment=entailment contradiction=contradiction"),
    "mnli-mm": ("MNLI/dev_mismatched", MNLI, "contradiction=contradiction neutral=neutral"),
    "qnli": (
        "QNLI/dev",
        "index=0 question=A sentence=B label=L",
        "entailment=entailment not_entailment=not_entailment",
    ),
    "rte": (
        "RTE/dev",
        "index=0 sentence1=A sentence2=B label=L",
        "not_entailment=not_entailment entailment=entailment",
    ),
    "wnli": ("WNLI/dev", "index=0 sentence1=A sentence2=B label=L", "1=entailment 0=not_entailment"),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_original_layouts(write: Write, name: str) -> None:
    dev, row, labels = LAYOUTS[name]
    columns, cells = zip(*(pair.split("=") for pair in row.split()), strict=True)
    written, meant = zip(*(pair.split("=") for pair in labels.split()), strict=True)
    texts = {"A": "first", "B": "second"}
    lines = ["\t".join((texts | {"L": label}).get(cell, cell) for cell in cells) for label in written]
    # MRPC begins with a byte order mark, and CoLA has no header.
    header = {"cola": ""}.get(name, ("\ufeff" if name == "mrpc" else "") + "\t".join(columns).replace("~", " ") + "\n")
    folder = write(f"{dev}.tsv", header + "\n".join(lines) + "\n").parent
    write(f"{folder.name}/train.tsv", header + "\n".join(lines * 10) + "\n")
    data = load_task(TaskSettings(name=name, data=str(folder.parent)))
    assert data.validation.texts == ["first"] * 2
    assert data.validation.pairs == (["second"] * 2 if "B" in cells else None)
    assert [data.task.labels[i] if data.task.labels else str(i) for i in data.validation.labels] == list(meant)
    assert (data.task.name, len(data.train) + len(data.selection)) == (name, 20)


def test_every_task_has_its_layout() -> None:
    assert LAYOUTS.keys() == TASKS.keys()


def test_mismatched_does_not_take_another_dev_file(write: Write) -> None:
    folder = write("dev.tsv", "sentence1\tsentence2\tlabel\na\tb\tneutral\n").parent
    assert load_validation(TaskSettings(name="mnli", data=str(folder)))[1].texts == ["a"]
    with pytest.raises(TrimformerError, match=r"has no dev_mismatched\.tsv \(plain or \.gz\) for GLUE MNLI: add"):
        load_validation(TaskSettings(name="mnli-mm", data=str(folder)))


def test_broken_rows_of_qqp(write: Write) -> None:
    head = "id\tquestion1\tquestion2\tis_duplicate\n"
    folder = write("QQP/train.tsv", head + "0\ta\tb\t1\n" * 10 + "broken\n" + "0\ta\tb\t0\n" * 10).parent.parent
    write("QQP/dev.tsv", head + "0\ta\tb\t1\n")
    data = load_task(TaskSettings(name="qqp", data=str(folder)))
    assert len(data.train) + len(data.selection) == 20
    assert "1 broken rows left out" in data.task.source


def test_wrong_files(tmp_path: Path, write: Write) -> None:
    write("train.tsv", "sentence\tlabel\na\t1\n")
    with pytest.raises(TrimformerError, match=r"The row in line 1 of .*train\.tsv has 2 columns where 4 are expected"):
        load_task(TaskSettings(name="cola", data=str(tmp_path)))
    with pytest.raises(TrimformerError, match=r"train\.tsv has no column 'question': .*\(sentence, label\)"):
        load_task(TaskSettings(name="qnli", data=str(tmp_path)))
    with pytest.raises(TrimformerError, match=r"has no dev\.tsv"):
        load_task(TaskSettings(name="sst2", data=str(tmp_path)))
    write("dev.tsv", "sentence\tlabel\na\t2\n")
    message = "line 2 of …dev.tsv, the label '2' is not among the known labels (negative, positive)"
    with pytest.raises(TrimformerError, match=like(message)):
        load_task(TaskSettings(name="sst2", data=str(tmp_path)))
    with pytest.raises(TrimformerError, match=r"The folder .*nowhere of task.data does not exist"):
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


def test_hub_mismatched(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def load_dataset(*place: str, split: str) -> None:
        asked.append((*place, split))
        raise ConnectionError("stop here")

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    for name in ("mnli", "mnli-mm"):
        with pytest.raises(TrimformerError, match="stop here"):
            load_validation(TaskSettings(name=name))
    assert asked == [("nyu-mll/glue", "mnli", "validation_matched"), ("nyu-mll/glue", "mnli", "validation_mismatched")]


def test_hub_out_of_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    def load_dataset(*_: Any, **__: Any) -> None:
        raise ConnectionError("no route\nmore lines")

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    with pytest.raises(
        TrimformerError, match=r"me/glue is not a folder here, .*cannot be loaded \(no route\): set task\.data"
    ):
        load_task(TaskSettings(name="mnli", data="me/glue"))
