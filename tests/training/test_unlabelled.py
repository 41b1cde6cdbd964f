"""Rows without labels among others: the task learns nothing from them, a term with a teacher does."""

import dataclasses

import numpy as np
import pytest
import torch

from tests.learning import LABELS, METRICS, context, make_method, toy_data
from tests.tinymodel import texts, words_tokenizer
from trimformer.encoder.model.heads import IGNORED, task_loss
from trimformer.tasks.data import Examples, GoldAnswer, Task
from trimformer.tasks.encode import encode
from trimformer.tasks.kinds import KINDS
from trimformer.training.loop import train

WIDTHS = {"classification": 2, "multilabel": 2, "regression": 1, "tokens": 2, "spans": 2}
LABELLED = [kind for kind in KINDS if kind != "masked-lm"]  # whose labels are in the texts


def rows(kind, labelled):
    """Six rows as they are encoded, of which these have labels."""
    given = [text for text, _ in texts(6)]
    pairs = [f"the {text}" for text in given] if kind == "spans" else None
    labels = {
        "classification": [0, 1] * 3,
        "multilabel": [(0,), (), (0, 1), (1,), (), (0,)],
        "regression": [0.5, 1.5, -1.0, 0.0, 2.0, 1.0],
        "tokens": [tuple(i % 2 for i in range(len(text.split()))) for text in given],
        "spans": [(GoldAnswer("the", 0),)] * 6,
    }[kind]
    taken = [label if row in labelled else None for row, label in enumerate(labels)]
    task = Task("toy", kind, LABELS.get(kind, ()), METRICS.get(kind, ("accuracy",)), "made in the test")
    split = [tuple(text.split()) for text in given] if KINDS[kind].words else given
    return encode(task, Examples(split, pairs, taken), words_tokenizer(), 16)


def loss(kind, batch):
    """Of random logits, which are given back, and its gradient in them."""
    shape = (*batch["input_ids"].shape, WIDTHS[kind]) if KINDS[kind].per_token else (len(batch["labels"]), WIDTHS[kind])
    logits = torch.randn(shape, generator=torch.Generator().manual_seed(0)).requires_grad_()
    value = task_loss(kind, logits, batch["labels"], batch["attention_mask"])
    return value, torch.autograd.grad(value, logits)[0], logits


@pytest.mark.parametrize("kind", LABELLED)
def test_the_loss_of_the_task_is_that_of_the_rows_with_labels(kind):
    every, some = rows(kind, range(6)).batch([0, 4, 3]), rows(kind, {0, 3}).batch([0, 4, 3])
    there, without = [0, 2], 1
    value, slope, logits = loss(kind, some)
    assert slope[without].abs().sum() == 0
    assert slope[there].abs().sum() > 0
    parts = logits[there], some["labels"][there], some["attention_mask"][there]
    assert value == task_loss(kind, *parts)
    assert torch.equal(every["labels"][there], some["labels"][there])
    labels = some["labels"][without]
    assert labels.isnan().all() if labels.is_floating_point() else (labels == IGNORED).all()


@pytest.mark.parametrize("kind", LABELLED)
def test_without_any_label_the_loss_is_zero_with_a_gradient_of_zero(kind):
    value, slope, _ = loss(kind, rows(kind, set()).batch([1, 2]))
    assert value == 0
    assert slope.abs().sum() == 0


def mixed_context(folder, objective, extra=24, **training):
    """A stage that also learns from rows whose labels nobody knows."""
    stage = context(objective=objective, teacher={"seed": 5}, folder=folder, **training)
    whole = toy_data(48 + extra, seed=1)
    labels = whole.labels.copy()
    labels[:48], labels[48:] = stage.train.labels, IGNORED
    return dataclasses.replace(stage, distilled=dataclasses.replace(whole, labels=labels))


@pytest.mark.parametrize("cache", [False, True])
def test_a_teacher_answers_them(tmp_path, cache):
    stage = mixed_context(tmp_path, {"task": 1.0, "logits": 1.0, "cache": cache})
    assert len(stage.rows) == 72
    objective, batch = stage.make_objective(), stage.rows.batch([60, 70, 50])
    torch.manual_seed(0)
    with_task = objective(stage.model.eval(), batch)
    batch["labels"][:] = 0
    assert objective(stage.model, batch) > with_task > 0


class Cut(Exception):
    """Stands for a power cut."""


def finish(folder, stop_before=None, **objective):
    stage = mixed_context(folder, {"logits": 1.0, **objective}, checkpoint_seconds=0, epochs=2)
    method = make_method("finetune", stage)
    update = method.update

    def cutting(step):
        if step == stop_before:
            raise Cut
        return update(step)

    method.update = cutting
    folder.mkdir(exist_ok=True)
    torch.manual_seed(7)
    steps = train(method, stage.rows, stage.training, stage.accelerator, folder, seed=0, title="t")
    assert steps == 18  # two passes over 72 rows in batches of 8
    return method.networks["model"].bare.state_dict()


@pytest.mark.parametrize("cache", [False, True])
def test_resumed_equals_uninterrupted(tmp_path, cache):
    whole = finish(tmp_path / "whole", cache=cache)
    with pytest.raises(Cut):
        finish(tmp_path / "cut", stop_before=11, cache=cache)
    again = finish(tmp_path / "cut", cache=cache)
    assert all(torch.equal(whole[name], again[name]) for name in whole)
    assert all(np.isfinite(value.numpy()).all() for value in whole.values())
