"""Layouts of a given cost: what they keep, what they cost, how they are compared; uniform, random and TPE."""

from __future__ import annotations

import sys
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from tests.learning import context, make_method
from trimformer import TrimformerError, trim
from trimformer.encoder.model.heads import task_loss
from trimformer.encoder.shape.gates import Gates
from trimformer.measure.cost import expected_flops, expected_params
from trimformer.methods import METHODS
from trimformer.methods.architecture.layout import TOLERANCE, Layout, Layouts

QUICK = {"target": 0.6, "rows": 16}


def layouts(stage: Any, **settings: Any) -> Layouts:
    wanted = METHODS["random"].Settings(**QUICK | settings)
    return Layouts(wanted, stage, wanted.parts)


@pytest.mark.parametrize("cost", ["flops", "params"])
def test_a_layout_costs_what_is_aimed_at_and_that_is_what_is_left(cost: str) -> None:
    stage = context(layers=4)
    found = layouts(stage, cost=cost, target=0.45)
    layout = Layout([True, True, False, True], [True, False, True, True], [1.0, 0.3, 0.5, 0.8], [0.2, 0.9, 1.0, 0.4])
    gates = found.gates(layout)
    assert gates is not None
    assert found.share(gates) == pytest.approx(0.45, abs=TOLERANCE * 0.45)
    config = trim(stage.model, gates).config
    count = (
        (lambda c: expected_flops(c, found.cost.length, Gates()))
        if cost == "flops"
        else lambda c: expected_params(c, Gates())
    )
    assert found.share(gates) == pytest.approx((count(config) / count(stage.model.config)).item())
    assert [shape.attention for shape in config.shapes] == ["full", "mean", "full"]
    units = [shape.ffn for shape in config.shapes]
    assert units[0] < units[2] < units[1]


def test_a_layout_that_drops_too_much_has_no_gates() -> None:
    found = layouts(context(layers=4))
    assert found.gates(Layout([True] + [False] * 3, [True] * 4, [1.0] * 4, [1.0] * 4)) is None


def test_what_matters_most_stays() -> None:
    stage = context(layers=2)
    with torch.no_grad():
        stage.model.encoder.layers[0].ffn_out.weight[:, :10] = 0
    gates = layouts(stage, target=0.6).gates(Layout.alike(2))
    assert gates is not None
    assert gates.ffn[0].sum() < 24
    assert gates.ffn[0][10:].sum() >= gates.ffn[0].sum() - gates.ffn[0][:10].sum()
    assert (gates.ffn[0][:10] == 0).all() or (gates.ffn[0][10:] == 1).all()


def test_the_first_ones_stay_of_a_model_that_was_trained_so() -> None:
    stage = context(layers=2)
    stage.model.config.nested = {"widths": [1.0, 0.5], "depths": [1.0]}
    gates = layouts(stage).gates(Layout.alike(2))
    assert gates is not None
    for gate in (*gates.ffn, *gates.heads):
        assert torch.equal(gate, (torch.arange(len(gate)) < gate.sum()).float())


def test_the_loss_is_that_of_the_trimmed_model() -> None:
    stage = context(layers=3)
    found = layouts(stage, rows=24, target=0.4)
    gates = found.gates(Layout([True, True, False], [True, False, True], [1.0] * 3, [1.0] * 3))
    assert gates is not None
    batch = stage.selection.batch(range(24))
    labels = batch.pop("labels")
    with torch.no_grad():
        logits = trim(stage.model, gates).eval()(**batch).logits
    expected = task_loss("classification", logits, labels, batch["attention_mask"]).item()
    assert found.loss(gates) == pytest.approx(expected, abs=1e-5)


def test_uniform_shrinks_all_layers_alike() -> None:
    method = make_method("uniform", context(layers=3), **QUICK)
    left = method.result()
    assert len({(shape.heads, shape.ffn) for shape in left.model.config.shapes}) == 1
    assert left.notes[0].endswith("(target 0.6): all layers keep the same share of heads and units.")
    with pytest.raises(TrimformerError, match=r"No share of heads and units costs 0\.05 of .* choose another target"):
        make_method("uniform", context(layers=3), **QUICK | {"target": 0.05}).decide()


def search(name: str, seed: int = 0, **settings: Any) -> Any:
    """The method after its search, with the losses that it has seen."""
    if name == "tpe":
        pytest.importorskip("optuna")
    method = make_method(name, context(layers=3, seed=seed), **QUICK | {"trials": 6} | settings)
    drawn, learn, last, method.seen = method.drawn, method.learn, [], []

    def watched() -> Any:
        last[:] = [drawn()]
        return last[0]

    def learned(loss: float | None) -> None:
        learn(loss)
        if loss is not None:
            method.seen.append((repr(last[0]), loss, method.layouts.share(last[0])))

    method.drawn, method.learn = watched, learned
    method.best = method.decide()
    return method


def test_no_more_is_dropped_than_the_target_allows() -> None:
    found = layouts(context(layers=4), target=0.5)
    for share, left in ((0.0, 4), (0.5, 3), (1.0, 2)):
        layout = Layout.alike(4)
        found.drop(layout.layers, layout, [3, 1, 2], share)
        assert sum(layout.layers) == left
        assert layout.layers[3] == (share == 0)
        assert found.gates(layout) is not None


@pytest.mark.parametrize("name", ["random", "tpe"])
def test_the_best_of_all_trials_is_left_and_all_cost_the_same(name: str) -> None:
    method = search(name)
    losses = [loss for _, loss, _ in method.seen]
    assert len(losses) == 6
    assert len(set(losses)) > 1
    assert repr(method.best) == method.seen[losses.index(min(losses))][0]
    assert all(share == pytest.approx(0.6, abs=0.6 * TOLERANCE) for _, _, share in method.seen)
    points = method.history.curves["lowest loss"]
    assert [value for _, value in points] == [min(losses[: index + 1]) for index in range(6)]
    assert "best of 6 layouts" in method.notes()[0]


@pytest.mark.parametrize("name", ["random", "tpe"])
def test_the_same_seed_finds_the_same(name: str) -> None:
    one, same, other = search(name, trials=3), search(name, trials=3), search(name, 1, trials=3)
    assert one.seen == same.seen != other.seen


@pytest.mark.parametrize("name", ["random", "tpe"])
def test_only_what_is_named_differs(name: str) -> None:
    for entry in search(name, trials=2, parts=["units"], target=0.8).seen:
        assert entry[0].count("Gates(removed='mean', ffn=") == 1
        assert "heads" not in entry[0]


def test_tpe_asks_where_the_loss_was_low() -> None:
    """A loss that counts nothing but the units of the first layer: few of these are asked for in the end."""
    pytest.importorskip("optuna")
    method = make_method("tpe", context(layers=2), **QUICK | {"trials": 30, "parts": ["units"], "target": 0.8})
    kept: list[float] = []
    original = Layouts.loss
    try:
        Layouts.loss = lambda self, gates: kept.append(gates.ffn[0].sum().item()) or kept[-1]  # type: ignore[method-assign]
        method.decide()
    finally:
        Layouts.loss = original  # type: ignore[method-assign]
    assert sum(kept[-10:]) < sum(kept[:10])


def test_without_optuna_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(TrimformerError, match=r'needs the package optuna: pip install "trimformer\[tpe\]"'):
        make_method("tpe", context(), **QUICK).decide()


@pytest.mark.parametrize(
    ("settings", "family", "said"),
    [
        ({"cost": "ms", "backend": "torch"}, "bert", "with cost ms leave layers out of parts"),
        ({}, "albert", "layers share their weights: leave heads out of parts"),
    ],
)
def test_what_cannot_be(settings: dict[str, Any], family: str, said: str) -> None:
    with pytest.raises(TrimformerError, match=said):
        make_method("random", context(family=family), **QUICK | settings)


def test_a_layout_needs_something_fine() -> None:
    with pytest.raises(ValidationError, match="cannot be brought to a cost, add one of them"):
        METHODS["random"].Settings(target=0.5, parts=["layers", "attention"])


@pytest.mark.parametrize("name", ["random", "tpe"])
def test_a_cost_that_no_layout_has(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr("trimformer.methods.architecture.layout.DRAWS", 3)
    with pytest.raises(TrimformerError, match=r"None of 3 layouts costs 0\.01 of"):
        make_method(name, context(layers=1), **QUICK | {"target": 0.01, "parts": ["heads"]}).decide()
