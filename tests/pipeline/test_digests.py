"""Whatever a run is started with and is another later is found and named; what is the same has the same digest."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from tests.models import tiny
from tests.tinymodel import words_tokenizer
from trimformer import TrimformerForSequenceClassification
from trimformer.encoder.checkpoints.load import Checkpoint, with_labels
from trimformer.encoder.shape.config import TrimformerConfig
from trimformer.errors import TrimformerError
from trimformer.pipeline.digests import StartedWith, changed, digests, read_start
from trimformer.pipeline.inputs import Inputs
from trimformer.recipe.settings import Recipe
from trimformer.recipe.standard import standard_recipe
from trimformer.starts import STARTS
from trimformer.tasks.cuts import Cuts
from trimformer.tasks.data import Examples, Task
from trimformer.tasks.encoding.encoded import Encoded
from trimformer.tasks.settings import TaskSettings


def rows(**changes: Any) -> Encoded:
    examples = Examples(["a b", "c"], None, [0, 1])
    same = Encoded(
        ids=np.array([5, 6, 7], dtype=np.int32), types=np.zeros(3, dtype=np.uint8), offsets=np.array([0, 2, 3]),
        labels=np.array([0, 1]), truncated=0, pad_id=0, kind="classification", examples=examples,
    )  # fmt: skip
    return dataclasses.replace(same, **changes)


def config(**changes: Any) -> TrimformerConfig:
    return TrimformerConfig.from_dict(with_labels(tiny().config, ["no", "yes"], "classification").to_dict() | changes)


def inputs(**changes: Any) -> Inputs:
    weights = {"a": torch.arange(3.0), "b": torch.ones(2, 2, dtype=torch.bfloat16)}
    task = Task("toy", "classification", ("no", "yes"), ("accuracy",), "test")
    checkpoint = Checkpoint(config(), weights, None, "here")
    same = Inputs(checkpoint, False, words_tokenizer(), task, Cuts(16, "head", 64), rows(), rows(), rows(), [])
    return dataclasses.replace(same, **changes)


def recipe(**changes: Any) -> Recipe:
    task = TaskSettings(name="sst2")
    return standard_recipe("m", task, "o", method={"name": "last-k", "keep_layers": 2}).model_copy(update=changes)


def differs(after: Inputs, **settings: Any) -> list[str]:
    before = StartedWith(recipe=recipe(), inputs=digests(inputs(), None))
    return changed(before, StartedWith(recipe=recipe(**settings), inputs=digests(after, None)))


def checkpoint(**changes: Any) -> Inputs:
    return inputs(checkpoint=dataclasses.replace(inputs().checkpoint, **changes))


def tokenizer(**changes: Any) -> Inputs:
    made = words_tokenizer()
    for name, value in changes.items():
        setattr(made, name, value)
    return inputs(tokenizer=made)


def other_words() -> Inputs:
    made = words_tokenizer()
    made.add_tokens(["new"])
    return inputs(tokenizer=made)


def labels(*names: str) -> Inputs:
    return inputs(task=dataclasses.replace(inputs().task, labels=names))


def weights(**changes: torch.Tensor) -> Inputs:
    return checkpoint(weights=inputs().checkpoint.weights | changes)


def test_the_same_is_the_same() -> None:
    used = words_tokenizer()
    used(["good film", "bad"], padding=True, truncation=True, max_length=3)  # a call leaves its settings behind
    assert differs(inputs(tokenizer=used)) == []
    renamed = config(id2label={0: "no", 1: "other"}, _name_or_path="elsewhere")
    assert differs(checkpoint(config=renamed), out="elsewhere/o") == []


@pytest.mark.parametrize("split", ["train", "selection", "validation"])
@pytest.mark.parametrize(
    "other",
    [
        rows(ids=np.array([5, 6, 8], dtype=np.int32)),
        rows(types=np.array([0, 1, 0], dtype=np.uint8)),
        rows(types=None),
        rows(offsets=np.array([0, 1, 3])),
        rows(labels=np.array([1, 0])),
        rows(labels=np.array([0.0, 1.0], dtype=np.float32)),
        rows(words=np.array([0, -1, 0], dtype=np.int32)),
        rows(owners=np.array([0, 0])),
        rows(chars=np.array([[0, 1], [2, 3], [0, 1]], dtype=np.int32)),
        rows(examples=Examples(["a b", "c"], None, [0, 2])),
    ],
)
def test_rows(split: str, other: Encoded) -> None:
    name = {"train": "training"}.get(split, split)
    assert differs(inputs(**{split: other})) == [f"the {name} rows"]


@pytest.mark.parametrize(
    ("other", "name"),
    [
        (labels("no", "maybe"), "the labels"),
        (labels("yes", "no"), "the labels"),
        (labels("no", "yes", "maybe"), "the labels"),
        (other_words(), "the tokenizer"),
        (tokenizer(pad_token="[UNK]"), "the tokenizer"),
        (tokenizer(truncation_side="left"), "the tokenizer"),
        (weights(a=torch.tensor([0.0, 1.0, 2.1])), "the checkpoint's weights"),
        (weights(b=torch.ones(4, dtype=torch.bfloat16)), "the checkpoint's weights"),
        (weights(b=torch.ones(2, 2, dtype=torch.float16).view(torch.bfloat16)), "the checkpoint's weights"),
        (weights(c=torch.zeros(0)), "the checkpoint's weights"),
        (checkpoint(config=config(hidden_act="relu")), "the checkpoint's configuration"),
        (inputs(has_trained_head=True), "the checkpoint's configuration"),
    ],
)
def test_what_the_run_starts_from(other: Inputs, name: str) -> None:
    assert differs(other) == [name]


def test_the_baseline() -> None:
    def start(model: Any) -> StartedWith:
        return StartedWith(recipe=recipe(), inputs=digests(inputs(), model))

    torch.manual_seed(0)
    model = TrimformerForSequenceClassification(config())
    before = start(model)
    assert changed(before, start(model)) == []
    assert changed(before, start(None)) == ["the baseline"]
    with torch.no_grad():
        model.head.output.bias += 1
    assert changed(before, start(model)) == ["the baseline"]


def test_a_start_with_files_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(**weights: torch.Tensor) -> StartedWith:
        monkeypatch.setattr(STARTS["dense"], "weights", lambda self: weights)
        return StartedWith(recipe=recipe(), inputs=digests(inputs(), None, recipe().stages))

    before = start(w=torch.zeros(2))
    assert changed(before, start(w=torch.zeros(2))) == []
    assert changed(before, start(w=torch.ones(2))) == ["the start of the stage search"]


def test_the_recipe_names_the_key_and_its_first_value() -> None:
    longer = recipe().task.model_copy(update={"max_length": 64})
    assert differs(labels("a", "b"), task=longer, baseline="é") == [
        "task.max_length in the recipe (at first null)", "baseline in the recipe (at first null)", "the labels",
    ]  # fmt: skip


def test_a_start_survives_saving(tmp_path: Any) -> None:
    start = StartedWith(recipe=recipe(baseline="é"), inputs=digests(inputs(), None))
    (tmp_path / "work").mkdir()
    start.save(tmp_path / "work")
    assert changed(start, read_start(tmp_path / "work")) == []


@pytest.mark.parametrize("content", [None, b"", b"{}", b"[1", b"\xff", b'{"recipe": {}, "inputs": {}}'])
def test_a_damaged_start(tmp_path: Any, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "started_with.json").write_bytes(content)
    with pytest.raises(TrimformerError, match="holds no run that can be resumed: choose another output folder, or del"):
        read_start(tmp_path)
