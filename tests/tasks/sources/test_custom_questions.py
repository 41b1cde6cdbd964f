"""The user's own questions."""

import json
from collections.abc import Callable
from pathlib import Path

from tests.tasks.helpers import QUESTIONS, document
from trimformer.tasks.settings import TaskSettings
from trimformer.tasks.sources.custom_questions import load, load_validation


def test_custom_files(write: Callable[[str, str], Path]) -> None:
    path = write("a.json", json.dumps(document(*QUESTIONS)))
    task, train, validation = load(path, None, TaskSettings())
    assert (task.name, task.kind, len(train), validation) == ("custom", "spans", 2, None)
    validation = load(path, path, TaskSettings())[2]
    assert validation == train
    assert load_validation(path, TaskSettings())[1] == train
