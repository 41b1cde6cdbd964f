"""SQuAD, from a folder and from the hub."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import datasets
import pytest

from tests.tasks.helpers import CONTEXT, QUESTIONS, document
from trimformer.errors import TrimformerError
from trimformer.tasks.data import GoldAnswer
from trimformer.tasks.settings import TaskSettings
from trimformer.tasks.sources import squad

Write = Callable[[str, str], Path]


def test_folder(tmp_path: Path, write: Write) -> None:
    write("train-v1.1.json", json.dumps(document(*QUESTIONS)))
    (tmp_path / "dev-v1.1.json.gz").write_bytes(gzip.compress(json.dumps(document(QUESTIONS[1])).encode()))
    task, train, validation = squad.load(TaskSettings(name="squad", data=str(tmp_path)))
    assert (task.name, task.kind, task.labels, task.metrics) == ("squad", "spans", (), ("f1", "exact_match"))
    assert train.texts == ["Who ran?", "Who slept?"]
    assert train.pairs is not None
    assert train.pairs[0] is train.pairs[1]
    assert train.labels == [(GoldAnswer("The fox", 0),), (GoldAnswer("dog", 17), GoldAnswer("The dog", 13))]
    assert validation.texts == ["Who slept?"]
    assert squad.load_validation(TaskSettings(name="squad", data=str(tmp_path))) == (task, validation)


def test_folder_without_files(tmp_path: Path, write: Write) -> None:
    write("dev.json", json.dumps(document(*QUESTIONS)))
    with pytest.raises(TrimformerError, match=r"has no train-v1\.1\.json or train\.json \(plain or \.gz\): set"):
        squad.load(TaskSettings(name="squad", data=str(tmp_path)))
    with pytest.raises(TrimformerError, match=r"The folder .*nowhere of task.data does not exist"):
        squad.load_validation(TaskSettings(name="squad", data=str(tmp_path / "nowhere")))


def test_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def load_dataset(dataset: str, config: str | None, split: str) -> datasets.Dataset:
        asked.append((dataset, config, split))
        answers = [{"text": [a["text"] for a in q["answers"]], "answer_start": [17, 13]} for q in QUESTIONS[1:]]
        columns = {"id": ["q2"], "title": ["t"], "context": [CONTEXT], "question": ["Who slept?"], "answers": answers}
        return datasets.Dataset.from_dict(columns)

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    task, train, validation = squad.load(TaskSettings(name="squad"))
    assert asked == [("rajpurkar/squad", None, "train"), ("rajpurkar/squad", None, "validation")]
    assert train == validation
    assert train.labels == [(GoldAnswer("dog", 17), GoldAnswer("The dog", 13))]
    assert "rajpurkar/squad" in task.source
