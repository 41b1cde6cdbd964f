"""The objective: zero for a copy of the teacher, blind to padding, with a gradient for the student alone."""

import copy
import dataclasses

import pytest
import torch
from torch.nn import functional as F

from tests.learning import batches, context, every_term, make_method
from tests.models import FAMILY_NAMES, padded_batch, tiny
from trimformer import Gates, TrimformerError, trim
from trimformer.training.objective import Objective, terms_of
from trimformer.training.projection import Projected
from trimformer.training.settings import ObjectiveSettings
from trimformer.training.terms.base import TERMS

MINILM = {"relations": 1.0, "relation_terms": ["attention", "value"]}
DISTANCES = [name for name, term in TERMS.items() if term.needs_teacher]
MOBILEBERT = {"attention": 1.0, "attention_distance": "divergence"}
each_distance = pytest.mark.parametrize("terms", [*({name: 1.0} for name in DISTANCES), MINILM, MOBILEBERT], ids=str)


def objective(terms, student, teacher):
    settings = ObjectiveSettings(**{"task": 0.0} | terms)
    return Objective(terms_of(settings, student.config, teacher.config), "classification", teacher)


def labelled(model):
    return padded_batch(model) | {"labels": torch.tensor([0, 1, 0, 1])}


def other(model):
    """A copy whose every weight is a little different."""
    changed = copy.deepcopy(model)
    torch.manual_seed(5)
    with torch.no_grad():
        for weight in changed.parameters():
            weight.add_(0.05 * torch.randn_like(weight))
    return changed


@each_distance
@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_a_copy_of_the_teacher_has_no_loss_and_another_model_has(family, terms):
    teacher = tiny(family=family)
    batch, loss = labelled(teacher), objective(terms, teacher, teacher)
    identity = Projected(copy.deepcopy(teacher), 16, 16)
    torch.nn.init.eye_(identity.projection.weight)
    for student in (copy.deepcopy(teacher), identity):
        assert loss(student, batch).abs() <= 1e-6
    assert loss(other(teacher), batch) > 1e-4


@each_distance
@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_more_padding_changes_no_term(family, terms):
    teacher = tiny(family=family)
    student = other(teacher)
    batch = labelled(teacher)
    pad = teacher.config.pad_token_id
    longer = {
        name: value if name == "labels" else F.pad(value, (0, 5), value=pad if name == "input_ids" else 0)
        for name, value in batch.items()
    }
    loss = objective(terms, student, teacher)
    with torch.no_grad():
        torch.testing.assert_close(loss(student, longer), loss(student, batch), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("terms", "learns"),
    [
        ({"logits": 1.0}, "head.output.weight"),
        ({"hidden": 1.0}, "encoder.layers.2.ffn_out.weight"),
        ({"embeddings": 1.0}, "encoder.embeddings.word.weight"),
        ({"attention": 1.0}, "encoder.layers.2.attention.query.weight"),
        ({"relations": 1.0}, "encoder.layers.2.attention.value.weight"),
        (MINILM, "encoder.layers.2.attention.key.weight"),
    ],
    ids=str,
)
def test_the_gradient_reaches_the_student_and_not_the_teacher(terms, learns):
    teacher = tiny()
    student = other(teacher)
    objective(terms, student, teacher)(student, labelled(teacher)).backward()
    assert student.get_parameter(learns).grad.abs().max() > 0
    assert all(weight.grad is None for weight in teacher.parameters())


def test_the_terms_add_up():
    teacher = tiny()
    student = other(teacher)
    batch = labelled(teacher)
    weights = {name: 0.25 * (index + 1) for index, name in enumerate(TERMS)}
    alone = [w * objective({name: 1.0}, student, teacher)(student, batch) for name, w in weights.items()]
    torch.testing.assert_close(objective(weights, student, teacher)(student, batch), torch.stack(alone).sum())


def test_without_a_distance_there_is_the_loss_of_the_task_alone():
    model = tiny()
    batch = labelled(model)
    expected = F.cross_entropy(model(**padded_batch(model)).logits, batch["labels"])
    plain = Objective(terms_of(ObjectiveSettings(), model.config, model.config), "classification")
    torch.testing.assert_close(plain(model, batch), expected)


def test_a_student_with_fewer_layers_learns_from_the_layers_of_the_map():
    teacher = tiny(4)
    student = other(tiny(2))
    batch = labelled(teacher)
    inputs = padded_batch(teacher)
    with torch.no_grad():
        ours = student(**inputs, output_hidden_states=True, output_trace=True)
        theirs = teacher(**inputs, output_hidden_states=True, output_trace=True)
        hidden = objective({"hidden": 1.0}, student, teacher)(student, batch)
        attention = objective({"attention": 1.0}, student, teacher)(student, batch)
    real = inputs["attention_mask"].bool()
    pairs = real[:, None, :, None].expand(4, 2, 9, 9) & real[:, None, None]
    layers = [(0, 1), (1, 3)]
    expected = [(ours.hidden_states[s + 1] - theirs.hidden_states[t + 1])[real].square().mean() for s, t in layers]
    torch.testing.assert_close(hidden, torch.stack(expected).mean())
    expected = [(ours.trace[s].scores - theirs.trace[t].scores)[pairs].square().mean() for s, t in layers]
    torch.testing.assert_close(attention, torch.stack(expected).mean())


def test_a_layer_that_is_gated_off_adds_nothing():
    teacher = tiny()
    student = other(teacher)
    batch = labelled(teacher)
    with torch.no_grad():
        gates = Gates(attention=torch.tensor([1.0, 0.0, 0.0]))
        gated = objective({"attention": 1.0}, student, teacher)(student, batch, gates)
        assert objective({"relations": 1.0}, student, teacher)(student, batch, gates) == 0
        trimmed = trim(student, gates)
        torch.testing.assert_close(objective({"attention": 1.0}, trimmed, teacher)(trimmed, batch), gated)
    assert gated > 0


def test_another_width_trains_a_projection_that_is_left_behind():
    stage = context(objective={"hidden": 1.0, "embeddings": 1.0}, teacher={"layers": 6, "hidden_size": 24})
    method = make_method("none", stage)
    projection = method.networks["model"].bare.projection
    assert projection.weight.shape == (24, 16)
    before = projection.weight.detach().clone()
    for batch in batches(stage, 2):
        method.micro_step(batch, 1.0)
        method.update(1)
    assert not torch.equal(projection.weight, before)
    assert not any("projection" in name for name in trim(method.model, method.decide()).state_dict())


def test_the_projection_maps_the_hidden_states():
    model = Projected(tiny(), 16, 24)
    batch = padded_batch(tiny())
    out, bare = model(**batch, output_hidden_states=True), model.model(**batch, output_hidden_states=True)
    for states, before in zip(out.hidden_states, bare.hidden_states, strict=True):
        torch.testing.assert_close(states, before @ model.projection.weight.T)
    torch.testing.assert_close(out.logits, bare.logits)


@pytest.mark.parametrize("cache", [False, True])
def test_the_teacher_is_frozen(tmp_path, cache):
    stage = context(objective=every_term(relation_heads=4, cache=cache), folder=tmp_path)
    objective = stage.make_objective()
    before = {name: weight.clone() for name, weight in stage.teacher.state_dict().items()}
    stage.model.head.output.weight.data.add_(0.5)
    objective(stage.model.train(), batches(stage, 1)[0]).backward()
    assert all(p.grad is None for p in stage.teacher.parameters())
    assert not stage.teacher.training
    assert all(torch.equal(before[name], weight) for name, weight in stage.teacher.state_dict().items())


def test_distillation_without_a_teacher_is_refused():
    with pytest.raises(ValueError, match="teacher"):
        Objective(terms_of(ObjectiveSettings(hidden=1.0), tiny().config, tiny().config), "classification")
    stage = dataclasses.replace(context(objective={"hidden": 1.0}), teacher=None)
    with pytest.raises(TrimformerError, match="no dense model to learn from"):
        stage.make_objective()
