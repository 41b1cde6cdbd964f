"""TinyBERT's task distillation (Jiao et al., 2020, sections 3.1 and 4.2) and the settings of its recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from torch.nn import functional as F

from tests.models import padded_batch, tiny
from trimformer.recipe.reading import load_recipe
from trimformer.training.distill import logit_loss, squared_loss
from trimformer.training.matching import Layers
from trimformer.training.network import Network
from trimformer.training.objective import Objective, terms_of
from trimformer.training.projection import Projected
from trimformer.training.settings import ObjectiveSettings, TrainingSettings

RECIPE = Path(__file__).parents[2] / "recipes/tinybert.yaml"


def intermediate() -> ObjectiveSettings:
    return load_recipe(RECIPE).stages[0].objective


def test_the_recipe_has_the_published_settings() -> None:
    recipe = load_recipe(RECIPE)
    first, second = recipe.stages
    objective = intermediate()
    assert [term.name for term in objective.terms if term.needs_teacher] == ["hidden", "embeddings", "attention"]
    assert (objective.task, objective.embeddings, objective.hidden, objective.attention) == (0, 1, 4, 4)
    assert (first.training.epochs, first.training.learning_rate, first.training.batch_size) == (20, 5e-5, 32)
    assert (first.training.schedule, first.training.warmup, first.training.keep_best) == ("constant", 0, False)
    assert (second.objective.task, second.objective.logits, second.objective.temperature) == (0, 0.5, 1)
    assert (second.training.epochs, second.training.schedule) == (3, "linear")
    assert first.augment == second.augment
    assert recipe.task.max_length == 64


def test_four_layers_learn_from_3_6_9_and_12_of_twelve() -> None:
    student, teacher = tiny(4).config, tiny(12).config
    assert [(layer + 1, taught + 1) for layer, taught in Layers(student, teacher).pairs] == [
        (1, 3),
        (2, 6),
        (3, 9),
        (4, 12),
    ]


def losses(student: Any, teacher: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    settings = intermediate()
    terms = terms_of(settings, teacher.config, teacher.config)
    with torch.no_grad():
        return Objective(terms, "classification", teacher)(student, batch)


def test_a_copy_of_the_teacher_with_an_identity_as_projection_has_no_loss() -> None:
    teacher = tiny(4).double()
    copy = Projected(tiny(4).double(), 16, 16).double()
    batch = padded_batch(teacher) | {"labels": torch.zeros(4, dtype=torch.long)}
    assert losses(copy, teacher, batch) > 0
    torch.nn.init.eye_(copy.projection.weight)
    assert losses(copy, teacher, batch) == 0


def test_padding_adds_nothing() -> None:
    teacher, student = tiny(4).double(), tiny(4, seed=1).double()
    batch = padded_batch(teacher) | {"labels": torch.zeros(4, dtype=torch.long)}
    longer = {name: x if name == "labels" else F.pad(x, (0, 5)) for name, x in batch.items()}
    torch.testing.assert_close(losses(student, teacher, longer), losses(student, teacher, batch))


def test_the_logit_term_over_the_classes_has_the_gradient_of_the_released_cross_entropy() -> None:
    torch.manual_seed(0)
    student, teacher = torch.randn(5, 3, requires_grad=True), torch.randn(5, 3)
    released = -(teacher.softmax(-1) * student.log_softmax(-1)).mean()  # over texts and classes
    ours = logit_loss("classification", student, teacher, torch.ones(5, 4), 1.0) / 3
    (expected,) = torch.autograd.grad(released, student)
    torch.testing.assert_close(torch.autograd.grad(ours, student)[0], expected)


def test_squared_distance_of_logits_sees_real_tokens_alone() -> None:
    student, teacher, mask = torch.zeros(1, 3, 2), torch.ones(1, 3, 2), torch.tensor([[1, 1, 0]])
    teacher[0, 2] = 100
    assert squared_loss("tokens", student, teacher, mask) == 1
    assert squared_loss("classification", student[:, 0], 2 * teacher[:, 0], mask) == 4


@pytest.mark.parametrize(
    ("schedule", "rates"), [("linear", [0.5, 1, 1, 0.75, 0.5, 0.25]), ("constant", [0.5, 1, 1, 1, 1, 1])]
)
def test_the_learning_rate_falls_or_stays_after_the_warm_up(schedule: Any, rates: list[float]) -> None:
    settings = TrainingSettings(learning_rate=1.0, warmup=2 / 6, schedule=schedule)
    module = torch.nn.Linear(1, 1)
    network = Network("model", module, Accelerator(cpu=True), settings, steps=6)
    found = []
    for _ in rates:
        found.append(network.scheduler.get_last_lr()[0])
        network.backward(module(torch.ones(1, 1)).sum())
        network.step()
    assert found == pytest.approx(rates)
