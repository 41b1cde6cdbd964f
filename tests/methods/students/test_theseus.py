"""BERT-of-Theseus: who runs in a step, what is trained, and what is left."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.learning import batches, context, make_method
from tests.models import DISTINCT_FAMILIES, padded_batch, tiny
from trimformer import Gates, TrimformerError, trim
from trimformer.methods import METHODS
from trimformer.methods.structure.depth import layer_gates
from trimformer.methods.students.theseus import groups


def logits(model: Any, gates: Gates | None = None) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model.eval()(**padded_batch(model), gates=gates).logits
    return found


def same(one: torch.Tensor, other: torch.Tensor) -> None:
    """Equal but for the rounding of sums in another order."""
    torch.testing.assert_close(one, other, atol=1e-6, rtol=0)


def bytes_of(model: Any) -> dict[str, bytes]:
    return {name: weight.detach().numpy().tobytes() for name, weight in model.state_dict().items()}


def trained(stage: Any, **settings: Any) -> Any:
    method = make_method("theseus", stage, **settings)
    for step, batch in enumerate(batches(stage, stage.steps), 1):
        method.micro_step(batch, 1.0)
        method.update(step)
    return method


@pytest.mark.parametrize(("layers", "keep", "sizes"), [(12, 6, [2] * 6), (5, 2, [2, 3]), (3, 3, [1] * 3), (7, 1, [7])])
def test_groups_are_as_even_as_can_be_and_hold_every_layer_once(layers: int, keep: int, sizes: list[int]) -> None:
    found = groups(layers, keep)
    assert [index for group in found for index in group] == list(range(layers))
    assert [len(group) for group in found] == sizes


@pytest.mark.parametrize(
    ("kinds", "successors"),
    [({}, "first"), ({0: "mean", 3: "none"}, "even"), ({1: "none", 2: "none", 3: "none"}, "first")],
    ids=str,
)
@pytest.mark.parametrize("family", DISTINCT_FAMILIES)
def test_nothing_replaced_is_the_predecessor_and_all_replaced_the_successor(
    family: str, kinds: dict[int, str], successors: str
) -> None:
    stage = context(layers=5, family=family, attention=kinds)
    dense, before = trim(stage.model, Gates()), bytes_of(stage.model)
    method = make_method("theseus", stage, keep=2, successors=successors)
    under_training = method.context.model
    same(logits(under_training, Gates(layers=torch.zeros(2))), logits(dense))
    assert bytes_of(stage.model) == before
    start = [0, 1] if successors == "first" else [0, 2]
    same(logits(under_training, Gates(layers=torch.ones(2))), logits(trim(dense, layer_gates(5, start))))
    # One group is replaced: the successor that starts as layer 0 stands before the layers of the second group.
    mixed = logits(under_training, Gates(layers=torch.tensor([1.0, 0.0])))
    same(mixed, logits(trim(dense, layer_gates(5, [0, 2, 3, 4]))))


@pytest.mark.parametrize("family", DISTINCT_FAMILIES)
def test_the_result_is_what_was_trained_and_nothing_else_moved(family: str) -> None:
    stage = context(layers=4, family=family)
    before, dense = bytes_of(stage.model), trim(stage.model, Gates())
    method = trained(stage, keep=2, full_at=0.5)
    left = method.result().model
    same(logits(left), logits(method.context.model))
    after = bytes_of(left)
    moved = {name for name in after if not name.startswith("encoder.layers.")} & {
        name for name in after if after[name] != before[name]
    }
    assert not moved, "embeddings, positions or head were trained"
    assert any(after[name] != before[name] for name in after if name.startswith("encoder.layers.1."))
    same(logits(method.context.model, Gates(layers=torch.zeros(2))), logits(dense))


def test_only_successors_have_gradients_and_only_those_in_place() -> None:
    stage = context(layers=4)
    method = make_method("theseus", stage, keep=2, rate=0.5, full_at=None)
    model, batch, seen = method.context.model, batches(stage, 1)[0], set()
    successors = {name for name, _ in model.named_parameters() if ".successor." in name}
    optimised = {id(p) for group in method.networks["model"].optimizer.param_groups for p in group["params"]}
    assert optimised == {id(p) for name, p in model.named_parameters() if name in successors}
    gates: list[torch.Tensor] = []
    model.register_forward_pre_hook(lambda _, args, given: gates.append(given["gates"].layers), with_kwargs=True)
    for _ in range(30):
        gates.clear()
        replaced = method.micro_step(batch, 1.0)["replaced"]
        assert replaced == (gates[0].sum() if gates else 0)
        for index, layer in enumerate(model.encoder.layers):
            with_gradient = layer.successor.ffn_in.weight.grad is not None
            assert with_gradient == bool(gates and gates[0][index])
        assert all(p.grad is None for name, p in model.named_parameters() if name not in successors)
        seen.add(tuple(gates[0].tolist()) if gates else (0.0, 0.0))
        method.networks["model"].optimizer.zero_grad(set_to_none=True)
    assert seen == {(0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0)}


def test_the_probability_rises_on_a_line_to_1_and_is_what_is_drawn() -> None:
    stage = context(rows=80)
    method = make_method("theseus", stage, keep=2, rate=0.2, full_at=0.5)
    found = []
    for step in range(stage.steps):
        found.append(method.probability())
        method.update(step + 1)
    assert found == pytest.approx([0.2, 0.36, 0.52, 0.68, 0.84, 1, 1, 1, 1, 1])
    constant = make_method("theseus", context(layers=6), keep=6, rate=0.7, full_at=None)
    constant.learn = lambda *_: 0.0
    drawn = sum(constant.micro_step({}, 1.0)["replaced"] for _ in range(200)) / 1200
    assert drawn == pytest.approx(0.7, abs=0.05)
    constant.update(1)
    assert constant.probability() == 0.7


def test_a_step_in_which_nothing_is_replaced_trains_nothing() -> None:
    stage = context()
    method = make_method("theseus", stage, keep=1, rate=0.0)
    before = bytes_of(stage.model)
    assert method.micro_step(batches(stage, 1)[0], 1.0) == {"replaced": 0}
    method.update(1)
    assert bytes_of(stage.model) == before


def test_hidden_states_are_compared_at_the_ends_of_the_groups() -> None:
    stage = context(layers=4, objective={"task": 0.0, "hidden": 1.0})
    method = make_method("theseus", stage, keep=2, rate=0.5, full_at=None)
    model, teacher, batch = method.context.model.eval(), stage.teacher.eval(), batches(stage, 1)[0]
    del batch["labels"]
    with torch.no_grad():
        theirs = teacher(**batch, output_hidden_states=True).hidden_states
        ours = model(**batch, gates=Gates(layers=torch.zeros(2)), output_hidden_states=True).hidden_states
    assert [pair[1] for term in method.objective.distances for pair in term.pairs] == [1, 3]
    for state, expected in zip(ours, (theirs[0], theirs[2], theirs[4]), strict=True):
        torch.testing.assert_close(state, expected)


def test_a_damaged_successor_learns_again_what_its_group_does() -> None:
    """The second layer of each group does nothing, so that a single layer can do what the group does."""
    stage = context(layers=4, objective={"task": 0.0, "logits": 1.0}, learning_rate=3e-3)
    with torch.no_grad():
        for index in (1, 3):
            layer = stage.model.encoder.layers[index]
            for weight in (*layer.attention.output.parameters(), *layer.ffn_out.parameters()):
                weight.zero_()
    stage.teacher.load_state_dict(stage.model.state_dict())
    method = make_method("theseus", stage, keep=2, successors="even", rate=0.5, full_at=None)
    model, every = method.context.model, batches(stage, 6)
    with torch.no_grad():
        for pair in model.encoder.layers:
            for weight in pair.successor.parameters():
                weight.add_(torch.randn_like(weight) * 0.2)

    def distance() -> float:
        with torch.no_grad():
            return float(sum(method.objective(model.eval(), batch, Gates(layers=torch.ones(2))) for batch in every))

    before = distance()
    for step in range(30):
        model.train()
        method.micro_step(every[step % 6], 1.0)
        method.networks["model"].step()
    assert distance() < before / 2


def test_settings_that_train_nothing_or_do_not_fit_are_refused() -> None:
    check = METHODS["theseus"].after
    settings = METHODS["theseus"].Settings
    with pytest.raises(TrimformerError, match="no layer is ever replaced"):
        check(settings(keep=2, rate=0, full_at=None), tiny(3).config)
    with pytest.raises(TrimformerError, match="keep=4 is out of range: this encoder has 3 layers, so keep 1 to 3"):
        check(settings(keep=4), tiny(3).config)


def test_the_note_names_the_groups() -> None:
    assert make_method("theseus", context(layers=5), keep=2, successors="even").notes() == [
        "these layers were copied and trained to replace groups of layers: 0 for 0–1, 2 for 2–4."
    ]
