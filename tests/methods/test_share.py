"""Layers that share weights from now on: which, what they start with, and that nothing else changes."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.learning import batches, context, make_method
from tests.models import DISTINCT_FAMILIES, padded_batch, tiny
from trimformer import TrimformerError, cost, load, trim
from trimformer.methods import METHODS
from trimformer.methods.structure.share import first_of_groups

METHOD: Any = METHODS["share"]


def output(model: Any) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model.eval()(**padded_batch(model)).logits
    return found


def shared(stage: Any, **settings: Any) -> Any:
    return make_method("share", stage, **settings).result().model


def test_groups_are_neighbours_and_as_large_as_each_other() -> None:
    assert first_of_groups(12, 1) == [0] * 12
    assert first_of_groups(6, 2) == [0, 0, 0, 3, 3, 3]
    assert first_of_groups(5, 2) == [0, 0, 0, 3, 3]
    assert first_of_groups(4, 3) == [0, 0, 2, 3]


@pytest.mark.parametrize("groups", [1, 2])
def test_a_group_starts_with_the_mean_of_its_layers(groups: int) -> None:
    stage = context(layers=4)
    before, model = stage.model, shared(stage, groups=groups)
    assert model.config.sharing == [0] * 4 if groups == 1 else [0, 0, 2, 2]
    layers, size = before.encoder.layers, 4 // groups
    for index, layer in enumerate(model.encoder.layers):
        members = range(index // size * size, index // size * size + size)
        for name, weight in layer.named_parameters():
            expected = torch.stack([layers[one].get_parameter(name).detach() for one in members]).mean(0)
            torch.testing.assert_close(weight.detach(), expected)
    others = {name: weight for name, weight in before.state_dict().items() if ".layers." not in name}
    assert all(torch.equal(model.state_dict()[name], weight) for name, weight in others.items())


def test_layers_that_are_alike_already_answer_as_before() -> None:
    stage = context()
    layers = stage.model.encoder.layers
    for layer in layers[1:]:
        layer.load_state_dict(layers[0].state_dict())
    before = output(stage.model)
    for weights in ("mean", "first"):
        torch.testing.assert_close(output(shared(stage, weights=weights)), before)


def test_the_first_layer_of_each_group_gives_its_weights() -> None:
    stage = context(layers=4)
    wanted = [stage.model.encoder.layers[index].state_dict() for index in (0, 0, 2, 2)]
    model = shared(stage, groups=2, weights="first")
    for layer, own in zip(model.encoder.layers, wanted, strict=True):
        assert all(torch.equal(weight, own[name]) for name, weight in layer.state_dict().items())


@pytest.mark.parametrize("weights", ["mean", "first"])
def test_an_attendout_model_keeps_its_kinds_and_merges_what_each_has(weights: str) -> None:
    stage = context(layers=4, attention={0: "mean", 2: "none"})
    before, model = stage.model.encoder.layers, shared(stage, weights=weights)
    assert [shape.attention for shape in model.config.shapes] == ["mean", "full", "none", "full"]
    full, mean = model.encoder.layers[1].attention, model.encoder.layers[0].attention
    assert full.value is mean.value
    assert full.query is model.encoder.layers[3].attention.query
    queries, values = ([before[i].attention.get_parameter(f"{name}.weight").detach() for i in those]
                       for name, those in (("query", (1, 3)), ("value", (0, 1, 3))))  # fmt: skip
    for found, given in ((full.query, queries), (full.value, values)):
        expected = given[0] if weights == "first" else torch.stack(given).mean(0)
        torch.testing.assert_close(found.weight.detach(), expected)
    assert output(model).isfinite().all()


@pytest.mark.parametrize("family", [name for name in DISTINCT_FAMILIES if tiny(family=name).config.sharing is None])
def test_families_are_saved_and_loaded_with_weights_that_are_there_once(family: str, tmp_path: Path) -> None:
    stage = context(family=family)
    if family == "modernbert":  # its layers differ in window and base
        with pytest.raises(TrimformerError, match="The layers of this encoder differ"):
            METHOD.after(METHOD.Settings(), stage.model.config)
        return
    model = shared(stage)
    assert model.config == METHOD.after(METHOD.Settings(), stage.model.config)
    assert sum(weight.numel() for weight in model.parameters()) == cost(model).params < cost(stage.model).params
    model.save_pretrained(tmp_path)
    again = load(tmp_path)
    assert torch.equal(output(again), output(model))
    assert again.encoder.layers[0].ffn_in.weight is again.encoder.layers[2].ffn_in.weight
    trim(model, attention={0: "mean"})


def test_what_is_fine_tuned_then_still_shares() -> None:
    stage = context()
    model = shared(stage)
    tuned = make_method("finetune", dataclasses.replace(stage, model=model))
    before = model.encoder.layers[0].ffn_in.weight.detach().clone()
    tuned.micro_step(batches(stage, 1)[0], 1.0)
    tuned.update(1)
    layers = tuned.result().model.encoder.layers
    assert not torch.equal(layers[0].ffn_in.weight, before)
    assert layers[0].ffn_in.weight is layers[2].ffn_in.weight


def test_it_says_what_is_saved_and_what_not() -> None:
    stage = context(layers=4)
    (note,) = make_method("share", stage, groups=2).result().notes
    each = sum(weight.numel() for weight in stage.model.encoder.layers[0].parameters())
    assert note.startswith(f"The 4 layers have the weights of 2: {2 * each:,} of {4 * each:,} are left.")
    assert note.endswith("a smaller file is all that is saved.")


def test_mistakes_are_found_before_any_work() -> None:
    def said(config: Any, **settings: Any) -> str:
        with pytest.raises(TrimformerError) as error:
            METHOD.after(METHOD.Settings(**settings), config)
        return str(error.value)

    assert "share their weights already" in said(tiny(family="albert").config)
    assert said(tiny().config, groups=3).startswith("groups=3 is out of range: of 3 layers at most 2 groups")
    shapes = [dataclasses.replace(shape, ffn=24 - index) for index, shape in enumerate(tiny().config.shapes)]
    assert "share before parts of single layers are removed" in said(tiny().config.with_shapes(shapes))
