"""A student and a teacher that read the same rows with different tokenizers."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.learning import context, toy_data
from trimformer.training.paired import Paired, student_inputs, teacher_inputs

ORDER = np.random.default_rng(0).permutation(np.arange(1, 50))
RENAMED = np.concatenate([[0], ORDER])  # old id -> new id; padding stays


def renamed(stage):
    """The student's tokens have other numbers, and its embeddings lie accordingly: it answers as its teacher does."""
    rows = toy_data(48, seed=1)
    theirs = dataclasses.replace(rows, ids=RENAMED[rows.ids].astype(np.int32))
    student = copy.deepcopy(stage.teacher)
    weight = student.encoder.embeddings.word.weight
    weight.data[RENAMED] = weight.data.clone()
    return dataclasses.replace(stage, model=student, train=theirs, teacher_train=rows)


@pytest.mark.parametrize("cache", [False, True])
def test_both_read_their_own_tokens(tmp_path: Path, cache: bool) -> None:
    stage = renamed(context(objective={"task": 0.0, "logits": 1.0, "cache": cache}, folder=tmp_path))
    objective = stage.make_objective()
    batch = stage.rows.batch([3, 1, 2])
    assert objective(stage.model.eval(), batch).item() == pytest.approx(0, abs=1e-6)
    alone = stage.train.batch([3, 1, 2])
    if not cache:  # the teacher would misread the student's tokens
        assert objective(stage.model, alone).item() > 1e-4


def test_a_batch_holds_both() -> None:
    longer = toy_data(4, seed=3)
    pair = Paired(toy_data(4, seed=1), longer)
    batch = pair.batch([0, 2])
    assert (len(pair), pair.lengths.tolist()) == (4, pair.student.lengths.tolist())
    ours, theirs = pair.student.batch([0, 2]), longer.batch([0, 2])
    assert {name for name in batch if name.startswith("teacher_")} == {"teacher_input_ids", "teacher_attention_mask"}
    assert all(torch.equal(student_inputs(batch)[name], ours[name]) for name in ("input_ids", "attention_mask"))
    assert all(torch.equal(teacher_inputs(batch)[name], theirs[name]) for name in ("input_ids", "attention_mask"))
    assert "labels" not in student_inputs(batch) | teacher_inputs(batch)
    assert teacher_inputs(ours).keys() == student_inputs(ours).keys() == {"input_ids", "attention_mask"}


def test_one_tokenizer_needs_no_pair() -> None:
    stage = context()
    assert stage.rows is stage.train
