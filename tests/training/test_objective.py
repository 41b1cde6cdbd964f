"""The distillation terms: zero for equal models, blind to padding, as published."""

import math

import pytest
import torch

from tests.learning import batches, context
from tests.models import padded_batch, tiny
from trimformer.training.objective import Objective, ObjectiveSettings, hidden_loss, logit_loss


def test_equal_models_have_no_distillation_loss():
    model = tiny(labels=2)
    batch = padded_batch(model) | {"labels": torch.tensor([0, 1, 0, 1])}
    plain = Objective(ObjectiveSettings(), "classification")(model, batch)
    distilled = Objective(ObjectiveSettings(logits=1, hidden=1), "classification", model)(model, batch)
    torch.testing.assert_close(distilled, plain, atol=1e-6, rtol=0)


def test_logit_loss_is_the_softened_divergence_times_temperature_squared():
    student, teacher = torch.tensor([[0.0, 0.0]]), torch.tensor([[2.0, 0.0]])
    mask = torch.ones(1, 1)
    p = 1 / (1 + math.exp(-1))  # softmax of (2, 0) / 2
    expected = 4 * (p * math.log(p / 0.5) + (1 - p) * math.log((1 - p) / 0.5))
    assert logit_loss("classification", student, teacher, mask, 2.0).item() == pytest.approx(expected, abs=1e-6)
    assert logit_loss("regression", student, teacher, mask, 2.0).item() == pytest.approx(2.0)


def test_hidden_loss_is_blind_to_padding():
    mask = torch.tensor([[1, 1, 0], [1, 0, 0]])
    a, b = torch.randn(2, 3, 4), torch.randn(2, 3, 4)
    expected = torch.stack([(a - b)[0, 0], (a - b)[0, 1], (a - b)[1, 0]]).square().mean()
    torch.testing.assert_close(hidden_loss((a,), (b,), mask), expected)
    b[0, 2] = 1e9
    torch.testing.assert_close(hidden_loss((a,), (b,), mask), expected)


def test_the_teacher_is_frozen():
    stage = context(objective={"logits": 1.0, "hidden": 1.0})
    objective = stage.make_objective()
    before = {name: weight.clone() for name, weight in stage.teacher.state_dict().items()}
    stage.model.head.output.weight.data.add_(0.5)
    objective(stage.model.train(), batches(stage, 1)[0]).backward()
    assert all(p.grad is None for p in stage.teacher.parameters())
    assert not stage.teacher.training
    assert all(torch.equal(before[name], weight) for name, weight in stage.teacher.state_dict().items())


def test_distillation_without_a_teacher_is_refused():
    with pytest.raises(ValueError, match="teacher"):
        Objective(ObjectiveSettings(hidden=1.0), "classification")
