"""DynaBERT: the order, the gradients of all sub-networks, what they learn from, and what is left."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch

from tests.learning import batches, context, make_method
from tests.models import FAMILY_NAMES, padded_batch
from trimformer import Gates, TrimformerError, trim
from trimformer.encoder.gating.nested import nested_gates
from trimformer.methods import METHODS
from trimformer.methods.architecture.dynabert import at_depth
from trimformer.training.distill import hidden_loss
from trimformer.training.evaluate import predict_logits
from trimformer.training.loop import train

KINDS = ["classification", "multilabel", "regression", "tokens", "spans", "embedding", "masked-lm"]
DISTILLED = {"task": 0.0, "logits": 1.0, "hidden": 0.1}
SMALL = {"widths": [1.0, 0.5], "depths": [1.0, 0.5], "depths_from": 0.0, "rows": 16}


def logits(model: Any, gates: Gates | None = None) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model.eval()(**padded_batch(model), gates=gates).logits
    return found


def test_the_order_is_that_of_importance_and_changes_no_answer() -> None:
    stage = context()
    layer = stage.model.encoder.layers[1]
    with torch.no_grad():
        layer.ffn_out.weight[:, :5] = 0
        layer.attention.output.weight[:, :8] = 0
    before = logits(stage.model)
    model = make_method("dynabert", stage, **SMALL).model
    torch.testing.assert_close(logits(model), before, atol=1e-5, rtol=0)
    layer = model.encoder.layers[1]
    assert (layer.ffn_out.weight[:, -5:] == 0).all()  # what gives nothing comes last
    assert (layer.attention.output.weight[:, -8:] == 0).all()


def test_what_nests_already_keeps_its_order() -> None:
    stage = context()
    stage.model.config.nested = {"widths": [1.0, 0.5], "depths": [1.0]}
    assert make_method("dynabert", stage, **SMALL).model is stage.model


def test_the_gradients_of_all_sub_networks_are_added_up() -> None:
    stage = context(objective=DISTILLED)
    method = make_method("dynabert", stage, **SMALL)
    model = method.model.eval()
    (batch,) = batches(stage, 1)
    method.micro_step(batch, 0.5)
    found = {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}
    model.zero_grad()
    target = method.objective.target(batch)
    for depth in (1.0, 0.5):
        for width in (1.0, 0.5):
            gates = nested_gates(model.config, width, depth)
            (0.5 * method.objectives[depth](at_depth(model, depth, 3), batch, gates, target)).backward()
    for name, weight in model.named_parameters():
        if name in found:
            torch.testing.assert_close(found[name], weight.grad)


def test_the_depths_join_later() -> None:
    stage = context(rows=32, objective=DISTILLED)  # four steps
    method = make_method("dynabert", stage, **SMALL | {"depths_from": 0.5})
    seen: list[float] = []
    for depth, objective in method.objectives.items():
        method.objectives[depth] = lambda *given, d=depth, o=objective: seen.append(d) or o(*given)
    for step, batch in enumerate(batches(stage, 4), 1):
        method.micro_step(batch, 1.0)
        method.update(step)
    assert seen == [1.0, 1.0] * 2 + [1.0, 1.0, 0.5, 0.5] * 2


@pytest.mark.parametrize(("layers", "kept"), [(4, [0, 2]), (3, [0, 2])])
def test_a_layer_that_stays_takes_in_what_the_teachers_takes_in(layers: int, kept: list[int]) -> None:
    stage = context(layers=layers, objective={"task": 0.0, "hidden": 1.0, "embeddings": 1.0}, teacher={"seed": 3})
    method = make_method("dynabert", stage, **SMALL)
    (batch,) = batches(stage, 1)
    inputs = {name: value for name, value in batch.items() if name != "labels"}
    gates = nested_gates(method.model.config, 0.5, 0.5)
    assert [index for index, gate in enumerate(gates.layers.tolist()) if gate] == kept
    model = method.model.eval()
    got = method.objectives[0.5](at_depth(model, 0.5, layers), batch, gates)
    small = trim(model, gates)(**inputs, output_hidden_states=True).hidden_states
    with torch.no_grad():
        teacher = stage.teacher(**inputs, output_hidden_states=True).hidden_states
    wanted = [teacher[index] for index in (*kept, layers)]
    mask = batch["attention_mask"]
    expected = hidden_loss(small[:1], wanted[:1], mask) + hidden_loss(small[1:], wanted[1:], mask)
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)


def test_a_shallow_sub_network_learns_what_it_would_learn_alone(tmp_path: Any) -> None:
    """Half of the layers go at once, and what is left is far from the teacher at first."""
    stage = context(layers=4, objective=DISTILLED, teacher={}, epochs=4, learning_rate=3e-3, keep_best=False)
    method = make_method("dynabert", stage, widths=[1.0], depths=[1.0, 0.5], depths_from=0.0, rows=16)
    gates = nested_gates(method.model.config, 1.0, 0.5)
    alone = make_method("finetune", dataclasses.replace(stage, model=trim(method.model, gates)))

    def apart(model: Any, own: Gates | None = None) -> float:
        ours, theirs = (
            torch.from_numpy(predict_logits(one, stage.train, gates=given)).log_softmax(1)
            for one, given in ((model, own), (stage.teacher, None))
        )
        return float(torch.nn.functional.kl_div(ours, theirs, log_target=True, reduction="batchmean"))

    before = apart(method.model, gates)
    for learner in (method, alone):
        train(learner, stage.train, stage.training, stage.accelerator, tmp_path / learner.name, seed=0, title="toy")
    assert apart(method.model, gates) < before / 2
    assert apart(method.model, gates) < 2 * apart(alone.model)


@pytest.mark.parametrize("settings", [{"width": 0.5}, {"depth": 0.5}, {"width": 0.5, "depth": 0.5}], ids=str)
def test_the_stage_leaves_the_sub_network_that_is_asked_for(settings: dict[str, float]) -> None:
    stage = context(objective=DISTILLED)
    method = make_method("dynabert", stage, **SMALL | settings)
    result = method.result()
    gates = nested_gates(method.model.config, settings.get("width", 1.0), settings.get("depth", 1.0))
    torch.testing.assert_close(logits(result.model), logits(method.model, gates), atol=1e-5, rtol=0)
    assert result.model.config.nested is None
    foreseen = METHODS["dynabert"].after(method.settings, stage.model.config)
    assert (foreseen.shapes, foreseen.nested) == (result.model.config.shapes, None)


def test_the_whole_holds_all_and_says_what_each_is_worth() -> None:
    stage = context(objective=DISTILLED)
    method = make_method("dynabert", stage, **SMALL)
    result = method.result()
    assert result.model.config.nested == {"widths": [1.0, 0.5], "depths": [1.0, 0.5]}
    assert METHODS["dynabert"].after(method.settings, stage.model.config).nested == result.model.config.nested
    assert [(one.width, one.depth) for one in result.subnetworks] == [(1, 1), (0.5, 1), (1, 0.5), (0.5, 0.5)]
    for one in result.subnetworks:
        small = trim(result.model, width=one.width, depth=one.depth)
        assert one.params == sum(weight.numel() for weight in small.parameters())
        again = make_method("finetune", dataclasses.replace(stage, model=small))
        assert again.validate() == one.score
    assert "4 sub-networks" in result.notes[0]


@pytest.mark.parametrize("kind", KINDS)
def test_kinds(kind: str) -> None:
    stage = context(kind=kind, objective=DISTILLED)
    learned(stage)


@pytest.mark.parametrize("family", [name for name in FAMILY_NAMES if name != "albert"])
def test_families(family: str) -> None:
    model = learned(context(family=family, objective=DISTILLED)).model
    assert [shape.ffn for shape in trim(model, width=0.5, depth=0.5).config.shapes] == [12, 12]


def learned(stage: Any) -> Any:
    """What two steps leave; every weight has moved."""
    method = make_method("dynabert", stage, **SMALL)
    before = {key: value.clone() for key, value in method.model.state_dict().items()}
    for step, batch in enumerate(batches(stage, 2), start=1):
        losses = method.micro_step(batch, 1.0)
        method.update(step)
        assert all(torch.isfinite(torch.tensor(value)) for value in losses.values())
    assert any(not torch.equal(value, before[key]) for key, value in method.model.state_dict().items())
    return method.result()


def test_layers_that_share_their_weights_can_only_lose_depth() -> None:
    with pytest.raises(TrimformerError, match=r"layers share their weights: set widths to \[1.0\], and train depths"):
        make_method("dynabert", context(family="albert"), **SMALL)
    stage = context(family="albert", objective=DISTILLED)
    method = make_method("dynabert", stage, **SMALL | {"widths": [1.0], "depth": 0.5})
    method.micro_step(batches(stage, 1)[0], 1.0)
    method.update(1)
    assert method.result().model.config.num_hidden_layers == 2


def test_what_is_not_trained_cannot_be_left() -> None:
    with pytest.raises(TrimformerError, match=r"width=0.3 is not among the widths that are trained: add it to them"):
        make_method("dynabert", context(), width=0.3)
    with pytest.raises(TrimformerError, match=r"depth=0.3 is not among the depths"):
        make_method("dynabert", context(), depth=0.3)
