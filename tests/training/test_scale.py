"""Numbers of any scale: learned in standard units, answered in the user's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.learning import toy_data
from tests.models import tiny
from tests.tinymodel import texts, write_stock_bert
from trimformer.encoder.checkpoints.load import load_with_head, with_labels
from trimformer.encoder.model.heads import head_class
from trimformer.pipeline.accelerator import prepared
from trimformer.pipeline.dense import make_dense
from trimformer.pipeline.inputs import load_inputs
from trimformer.pipeline.stages import Stages
from trimformer.recipe.settings import Recipe
from trimformer.tasks.outcome import outcome
from trimformer.tasks.settings import TaskSettings
from trimformer.training.evaluate import predict_logits
from trimformer.training.scale import Scale
from trimformer.training.settings import TrainingSettings

PRICE = Scale(200_000.0, 40_000.0)
TRAINING = TrainingSettings(epochs=2, batch_size=8, learning_rate=3e-3)


def regressor() -> Any:
    torch.manual_seed(0)
    return head_class("regression")(with_labels(tiny().config, (), "regression")).eval()


def priced(file: Path, *, mean: float, sd: float) -> TaskSettings:
    rows = [{"text": text, "label": mean + sd * (1 if good else -1)} for text, good in texts(60)]
    file.write_text("\n".join(map(json.dumps, rows)) + "\n", encoding="utf-8")
    return TaskSettings(data=str(file), kind="regression")


def stages_of(model: Path, task: TaskSettings, work: Path, **more: Any) -> tuple[Recipe, Stages]:
    last = {"name": "s", "method": {"name": "finetune"}, "training": TRAINING, "objective": {"logits": 1.0}}
    values = {"model": str(model), "task": task, "out": "o", "dense": TRAINING, "stages": [last], **more}
    recipe, accelerator = prepared(Recipe.model_validate(values))
    return recipe, Stages(load_inputs(recipe, accelerator), accelerator, 0, work)


def score(stages: Stages, folder: Path) -> dict[str, float]:
    data = stages.inputs.validation
    return outcome(stages.inputs.task, data, predict_logits(load_with_head(folder), data)).scores


def test_folded_answers_are_those_of_the_unit() -> None:
    model, data = regressor(), toy_data(12, kind="regression")
    before = predict_logits(model, data).astype(np.float64)
    folded = predict_logits(PRICE.fold(model), data)
    assert folded == pytest.approx(PRICE.sd * before + PRICE.mean, rel=1e-6)
    assert predict_logits(PRICE.unfold(model), data) == pytest.approx(before, abs=1e-5)


def test_labels_have_mean_0_and_sd_1() -> None:
    data = toy_data(12, kind="regression")
    data.examples.labels[:] = [1e8 + n for n in range(12)]  # more digits than single precision has
    scale = Scale.of(data)
    assert (scale.mean, scale.sd) == pytest.approx((1e8 + 5.5, np.std(np.arange(12))))
    labels = scale.rows(data).labels
    assert labels.dtype == np.float32
    assert (labels.mean(), labels.std(), np.ptp(np.diff(labels))) == pytest.approx((0, 1, 0), abs=1e-6)


def test_constant_labels_and_other_kinds() -> None:
    data = toy_data(12, kind="regression")
    data.examples.labels[:] = [7.0] * 12
    assert Scale.of(data) == Scale(7.0, 1.0)
    classes = toy_data(12)
    assert Scale.of(classes) == Scale()
    assert Scale().rows(classes) is classes


def test_any_unit_is_learned_alike_with_a_teacher(tmp_path: Path) -> None:
    model = write_stock_bert(tmp_path / "bert")
    found = []
    for mean, sd in ((0.0, 1.0), (200_000.0, 40_000.0)):
        place = tmp_path / str(sd)
        recipe, stages = stages_of(model, priced(tmp_path / "a.jsonl", mean=mean, sd=sd), place)
        dense = make_dense(recipe, stages, place / "dense")
        last = stages.run(recipe.stages[0], 0, place / "last", [dense])
        scores = [score(stages, folder) for folder in (dense.model_folder, last.model_folder)]
        found.append([value for one in scores for value in (one["pearson"], one["mse"] / sd**2)])
    assert found[0][1] < 2  # it is near the labels, which is all that so few steps can do
    assert found[1] == pytest.approx(found[0], abs=1e-3)


def test_a_trained_head_starts_with_its_own_answers(tmp_path: Path) -> None:
    model = write_stock_bert(tmp_path / "bert", ["price"])
    net = load_with_head(model)
    PRICE.fold(net).save_pretrained(model)
    task = priced(tmp_path / "a.jsonl", mean=PRICE.mean, sd=PRICE.sd)
    recipe, stages = stages_of(model, task, tmp_path / "w", fine_tune="never")
    dense = make_dense(recipe, stages, tmp_path / "dense")
    before = predict_logits(load_with_head(model), stages.inputs.validation)
    assert np.array_equal(predict_logits(load_with_head(dense.model_folder), stages.inputs.validation), before)
    context = stages.context(recipe.stages[0], [dense])
    for part in (context.model, context.teacher):
        assert part is not None
        answers = stages.scale.sd * predict_logits(part, stages.inputs.validation).astype(np.float64)
        assert answers + stages.scale.mean == pytest.approx(before, rel=1e-6)
