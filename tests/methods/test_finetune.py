"""Plain fine-tuning, and what of a student is left as it is."""

import dataclasses

import pytest
import torch

from tests.learning import batches, context, make_method
from tests.models import with_tokens
from trimformer import trim
from trimformer.methods.base import DISTILLED
from trimformer.methods.finetune import unchanged_layers
from trimformer.methods.structure.deformer import split
from trimformer.recipe.settings import StageSettings

LAYERS = 3


def stage(attention, folder=None, **objective):
    """A student without the attention of some layers, and the dense model that it was made from."""
    found = context(layers=LAYERS, objective=DISTILLED.model_dump() | objective, folder=folder, teacher={})
    found.model.load_state_dict(found.teacher.state_dict())
    object.__setattr__(found, "model", trim(found.teacher, attention=attention) if attention else found.model)
    return found


def trained(found, **settings):
    method = make_method("finetune", found, **settings)
    for step, batch in enumerate(batches(found, 3), 1):
        method.micro_step(batch, 1.0)
        method.update(step)
    return method


@pytest.mark.parametrize(("attention", "frozen"), [({0: "mean"}, 0), ({1: "mean"}, 1), ({2: "mean"}, 2), ({}, 2)])
def test_what_is_still_the_dense_models_is_not_trained(attention, frozen):
    found = stage(attention)
    before = {name: weight.clone() for name, weight in found.model.state_dict().items()}
    method = trained(found, freeze_unchanged=True)
    changed = {name for name, weight in method.model.state_dict().items() if not torch.equal(weight, before[name])}
    still = ("encoder.embeddings", *(f"encoder.layers.{layer}." for layer in range(frozen)))
    assert changed
    assert not any(name.startswith(still) for name in changed)
    assert any(name.startswith(f"encoder.layers.{frozen}.") for name in changed)
    assert "stayed those of the dense model" in method.notes()[0]


def test_layers_behind_one_that_hands_on_fewer_tokens_are_computed():
    found = stage({2: "mean"})
    fewer = dataclasses.replace(
        found, model=with_tokens(found.model, None, 4), teacher=with_tokens(found.teacher, None, 4)
    )
    assert (unchanged_layers(found), unchanged_layers(fewer)) == (2, 1)


def test_layers_that_see_each_text_by_itself_are_not_those_of_a_dense_model_that_sees_both():
    found = stage({2: "mean"})
    apart = dataclasses.replace(found, model=split(found.model, 1))
    assert (unchanged_layers(found), unchanged_layers(apart)) == (2, None)
    assert unchanged_layers(dataclasses.replace(apart, teacher=split(found.teacher, 2))) == 0
    assert unchanged_layers(dataclasses.replace(apart, teacher=split(found.teacher, 1, 3))) is None


def test_all_weights_are_trained_where_nobody_says_more():
    method = trained(stage({2: "mean"}))
    assert all(weight.requires_grad for weight in method.model.parameters())
    assert method.objective.unchanged == 0
    assert method.notes() == []


@pytest.mark.parametrize("cache", [False, True])
def test_states_that_are_not_computed_give_the_loss_and_the_gradient_of_those_that_are(tmp_path, cache):
    found = stage({2: "mean"}, tmp_path, cache=cache)
    method = make_method("finetune", found, freeze_unchanged=True)
    runs, gradients, losses = [], [], []
    method.model.encoder.layers[1].register_forward_hook(lambda *_: runs.append(1))
    batch = batches(found, 1)[0]
    for unchanged in (2, 0):
        method.objective.unchanged = unchanged
        torch.manual_seed(0)
        losses.append(method.learn(batch, 1.0))
        gradients.append([p.grad for p in method.model.parameters() if p.grad is not None])
        method.networks["model"].optimizer.zero_grad(set_to_none=True)
        assert len(runs) == (0 if unchanged else 1)
    tolerance = {"atol": 1e-3, "rtol": 1e-2} if cache else {"atol": 1e-6, "rtol": 1e-5}  # the cache has half precision
    torch.testing.assert_close(*map(torch.tensor, losses), **tolerance)
    torch.testing.assert_close(*gradients, **tolerance)


def test_other_embeddings_are_trained_with_all_that_stands_on_them():
    found = stage({2: "mean"})
    with torch.no_grad():
        found.model.encoder.embeddings.word.weight.add_(1)
    method = make_method("finetune", found, freeze_unchanged=True)
    assert all(weight.requires_grad for weight in method.model.parameters())
    assert "all weights were trained" in method.notes()[0]


def test_frozen_parts_drop_nothing_also_after_an_evaluation():
    method = make_method("finetune", stage({2: "mean"}), freeze_unchanged=True)
    method.validate()
    assert not any(module.training for module in method.model.encoder.layers[1].modules())
    assert method.model.encoder.layers[2].dropout.training


def test_a_stage_that_compares_with_no_dense_model_is_refused():
    with pytest.raises(ValueError, match="freeze_unchanged compares with the dense model"):
        StageSettings.model_validate({"name": "s", "method": {"name": "finetune", "freeze_unchanged": True}})
