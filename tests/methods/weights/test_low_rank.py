"""Low rank: the best thin maps, of the largest rank that the target allows, in models that work everywhere else."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from tests.learning import batches, context, make_method
from tests.models import padded_batch, points_of, random_gates, tiny
from trimformer import TrimformerError, cost, export, load, trim
from trimformer.deploy.writers import write
from trimformer.inference.runtimes.backends import open_backend
from trimformer.methods.weights import low_rank
from trimformer.methods.weights.low_rank import Plan, Saved, dense_maps, made_thin, planned, smaller

Settings = low_rank.LowRankSettings


def thin(model: Any, rank: int, maps: list[str] | None = None) -> Any:
    return made_thin(model, Plan(dense_maps(model.config, maps), rank))[0]


def logits(model: Any, **given: Any) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model(**padded_batch(model), **given).logits
    return found


def test_full_rank_changes_nothing() -> None:
    model = tiny()
    whole = thin(model, 16)  # no map has more singular values
    assert {given["rank"] for shape in whole.config.shapes for given in shape.maps.values()} == {16}
    torch.testing.assert_close(logits(whole), logits(model), atol=1e-5, rtol=0)


@pytest.mark.parametrize("rank", [1, 5, 12])
def test_the_error_is_the_sum_of_the_squared_singular_values_that_are_cut(rank: int) -> None:
    model = tiny(1).double().requires_grad_(False)
    made, lost = made_thin(model, Plan(dense_maps(model.config, None), rank))
    cut = total = 0.0
    made.requires_grad_(False)
    for each in dense_maps(model.config, None):
        dense = model.encoder.layers[0].get_submodule(each.name).weight
        squares = torch.linalg.svdvals(dense).square()
        error = (made.encoder.layers[0].get_submodule(each.name).weight - dense).square().sum()
        torch.testing.assert_close(error, squares[rank:].sum(), rtol=1e-9, atol=0)
        cut, total = cut + float(squares[rank:].sum()), total + float(squares.sum())
    assert lost == pytest.approx(cut / total, rel=1e-9)


@pytest.mark.parametrize("target", [0.4, 0.7, 0.95])
@pytest.mark.parametrize("counted", ["params", "flops"])
def test_the_target_is_reached_with_the_largest_rank(counted: Any, target: float) -> None:
    config, length = tiny().config, 9
    plan = planned(Settings(target=target, cost=counted), config, dense_maps(config, None), length)

    def share(rank: int) -> float:
        thin = [each for each in dense_maps(config, None) if smaller(each.size, rank)]
        left, dense = cost(low_rank.shaped(config, Plan(thin, rank)), length), cost(config, length)
        return sum(getattr(x, counted) for x in left.layers) / sum(getattr(x, counted) for x in dense.layers)

    assert share(plan.rank) <= target < share(plan.rank + 1)


def test_maps_whose_pair_is_not_smaller_stay_dense() -> None:
    method = make_method("low-rank", context(), target=0.97, cost="params")
    assert method.plan.rank == 8  # 16 x 16 breaks even at 8, 16 x 24 at 9.6
    shapes = method.result().model.config.shapes
    assert [set(shape.maps) for shape in shapes] == [{"ffn_in", "ffn_out"}] * 3
    assert "two thin ones are smaller only below rank 8" in " ".join(method.notes())


def test_a_target_out_of_reach_and_unknown_maps_are_refused_before_any_work() -> None:
    config = tiny().config
    with pytest.raises(TrimformerError, match=r"rank 1 leaves \d+% .* only 2% may stay: raise the target"):
        low_rank.LowRank.after(Settings(target=0.02), config)
    with pytest.raises(TrimformerError, match="maps names 'keys', which no layer has: use some of attention, "):
        low_rank.LowRank.after(Settings(target=0.5, maps=["keys"]), config)


def test_only_the_maps_that_are_asked_for_become_thin() -> None:
    config = tiny().config
    assert {each.name for each in dense_maps(config, ["ffn"])} == {"ffn_in", "ffn_out"}
    assert {each.name for each in dense_maps(config, ["attention.key", "ffn_in"])} == {"attention.key", "ffn_in"}
    left = thin(tiny(), 3, ["attention"])
    assert len(dense_maps(left.config, None)) == 6  # those that are thin already are left alone
    with pytest.raises(TrimformerError, match="no dense map left to decompose"):
        dense_maps(left.config, ["attention"])


def test_only_what_was_measured_to_be_faster_becomes_thin() -> None:
    config = tiny(1).config
    maps = dense_maps(config, None)
    saved = Saved(10.0, {(16, 16): {2: -0.1, 6: -0.3}, (16, 24): {1: 4.0, 9: 1.0}, (24, 16): {1: 4.0, 9: 0.0}})
    plan = planned(Settings(target=0.7, cost="ms"), config, maps, 9, saved)
    # At rank r the blocks save 4 - 3 (r - 1) / 8 and 4 - 4 (r - 1) / 8: 3 of 10 are saved up to rank 6.
    assert (plan.rank, [each.name for each in plan.thin]) == (6, ["ffn_in", "ffn_out"])


def test_milliseconds_are_measured_once_in_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def took(config: Any, shapes: dict[str, Any], settings: Any, length: int) -> dict[str, float]:
        calls.append(length)
        whole = 2 * 16 * 24 + 4 * 16 * 16
        return {
            name: 0.0 if not shape.ffn else whole - sum(16 * 24 - given["rank"] * 40 for given in shape.maps.values())
            for name, shape in shapes.items()
        }

    monkeypatch.setattr(low_rank, "milliseconds", took)
    stage = context(layers=2, folder=tmp_path)
    settings = {"target": 0.8, "cost": "ms", "backend": "sdpa", "maps": ["ffn"]}
    monkeypatch.setattr(low_rank, "check_cost", lambda *_: None)
    method, again = (make_method("low-rank", stage, **settings) for _ in range(2))
    # 358.4 of 1792 are to be saved in each layer; two pairs of rank 5 save 368.
    assert method.plan == again.plan == Plan(dense_maps(stage.model.config, ["ffn"]), 5)
    assert len(calls) == 1
    assert "as measured: 16 -> 24 +" in method.notes()[-1]


def test_real_milliseconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny(1)
    shapes = {"dense": model.config.shapes[0], "thin": thin(model, 2).config.shapes[0]}
    found = low_rank.milliseconds(model.config, shapes, Settings(target=0.5, backend="torch"), 9)
    assert set(found) == {"dense", "thin"}
    assert min(found.values()) > 0


def test_the_thin_maps_are_trained_and_the_model_given_is_not_touched() -> None:
    stage = context(objective={"logits": 1.0, "hidden": 1.0})
    before = {name: weight.clone() for name, weight in stage.model.state_dict().items()}
    method = make_method("low-rank", stage, target=0.6)
    start = {name: weight.clone() for name, weight in method.model.state_dict().items()}
    losses = []
    for batch in batches(stage, 2) * 8:
        losses.append(method.micro_step(batch, 1.0)["loss"])
        method.update(1)
    left = method.result().model
    assert losses[-1] < losses[0]
    assert all(torch.equal(weight, before[name]) for name, weight in stage.model.state_dict().items())
    assert not torch.equal(left.state_dict()[key := "encoder.layers.0.ffn_in.first.weight"], start[key])


@pytest.mark.parametrize("family", ["albert", "modernbert", "deberta-v2"])
def test_other_families(family: str) -> None:
    model = tiny(family=family)
    torch.testing.assert_close(logits(thin(model, 16)), logits(model), atol=1e-4, rtol=1e-4)
    made = thin(model, 4)
    assert cost(made, 9).params == sum(weight.numel() for weight in made.parameters())


def test_trimmed_saved_exported_and_counted(tmp_path: Path) -> None:
    model = thin(tiny(), 4)
    gates = random_gates(model, points_of(model), seed=2)
    trimmed = trim(model, gates)
    torch.testing.assert_close(logits(trimmed), logits(model, gates=gates), atol=1e-5, rtol=1e-5)
    assert all(given["rank"] == 4 for shape in trimmed.config.shapes for given in shape.maps.values())
    trimmed.save_pretrained(tmp_path / "saved")
    assert torch.equal(logits(load(tmp_path / "saved").eval()), logits(trimmed))
    export(trimmed, tmp_path / "onnx", precision=["fp32"])
    session = open_backend(write(trimmed, "onnx", tmp_path / "onnx"), "onnx", threads=1)
    given = torch.from_numpy(session.run(padded_batch(trimmed)))
    torch.testing.assert_close(given, logits(trimmed), atol=1e-4, rtol=0)
    computed = cost(trimmed, 12)
    with FlopCounterMode(display=False) as counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        trimmed(torch.randint(4, 50, (1, 12)), torch.ones(1, 12, dtype=torch.long))
    assert counter.get_total_flops() == computed.flops
    assert computed.params == sum(weight.numel() for weight in trimmed.parameters())


def test_what_is_foreseen_is_what_is_left() -> None:
    stage = context()
    settings = Settings(target=0.5, length=9)
    left = make_method("low-rank", stage, target=0.5, length=9).result().model.config
    assert low_rank.LowRank.after(settings, stage.model.config).shapes == left.shapes
    assert dataclasses.asdict(left.shapes[0])["maps"]


def test_magnitude_prunes_inside_of_the_thin_maps(tmp_path: Path) -> None:
    """LadaBERT: the masks lie on both factors, and these are saved with their zeros packed."""
    stage = context(rows=48)
    left = make_method("low-rank", stage, target=0.5, length=9).result().model
    method = make_method("magnitude", dataclasses.replace(stage, model=left), density=0.25, end=0.5)
    for step, batch in enumerate(batches(stage, stage.steps), 1):
        method.micro_step(batch, 1.0)
        method.update(step)
    model = method.result().model
    factors = {name: weight for name, weight in model.state_dict().items() if ".first." in name or ".second.w" in name}
    assert len(factors) == 2 * len(dense_maps(stage.model.config, None))
    for name, weight in factors.items():
        assert int(weight.count_nonzero()) == int(0.25 * weight.numel()), name
    model.save_pretrained(tmp_path)
    assert all(torch.equal(load(tmp_path).state_dict()[name], weight) for name, weight in factors.items())
