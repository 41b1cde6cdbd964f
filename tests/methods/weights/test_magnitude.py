"""Magnitude pruning: exactly so many weights stay, by the cubic schedule, and the baked model is the masked one."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from torch import nn

from tests.learning import batches, context, make_method
from tests.models import FAMILY_NAMES, padded_batch
from trimformer import TrimformerConfig, TrimformerError, load, trim
from trimformer.encoder.packing.files import is_packed
from trimformer.encoder.shape.kinds import LAYERS
from trimformer.methods import METHODS
from trimformer.methods.weights.masks import cubic, largest


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model.eval()(**padded_batch(model)).logits
    return found


def maps(model: Any) -> list[torch.Tensor]:
    return [m.weight.detach() for m in model.encoder.layers.modules() if isinstance(m, nn.Linear)]


def trained(stage: Any, name: str = "magnitude", **settings: Any) -> Any:
    method = make_method(name, stage, **settings)
    for step, batch in enumerate(batches(stage, stage.steps), 1):
        method.micro_step(batch, 1.0)
        method.update(step)
    return method


@pytest.mark.parametrize(
    ("done", "share"),
    [(0.0, 1.0), (0.2, 1.0), (0.35, 0.2 + 0.8 * 0.421875), (0.5, 0.2 + 0.8 * 0.125), (0.8, 0.2), (1.0, 0.2)],
)
def test_the_schedule_is_cubic(done: float, share: float) -> None:
    assert cubic(done, 1.0, 0.2, 0.2, 0.8) == pytest.approx(share, rel=1e-12)


def test_a_schedule_without_a_length_is_a_step() -> None:
    assert [cubic(done, 1.0, 0.3, 0.5, 0.5) for done in (0.49, 0.5)] == [1.0, 0.3]


@pytest.mark.parametrize("share", [0.0, 0.1, 0.35, 0.999, 1.0])
def test_as_many_stay_as_are_asked_for_and_of_equals_the_first(share: float) -> None:
    weights = [torch.tensor([[1.0, -3.0], [3.0, -1.0]]), torch.full((3, 5), -2.0)]
    masks = largest([weight.abs() for weight in weights], share)
    assert sum(int(mask.sum()) for mask in masks) == int(share * 19)
    if share == 0.35:  # 6: both 3, then the first four 2
        assert masks[0].tolist() == [[False, True], [True, False]]
        assert masks[1].flatten().nonzero().flatten().tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("density", [0.3, 0.77])
def test_the_zeros_are_counted_exactly_in_each_matrix_or_in_all(density: float) -> None:
    model = trained(context(), density=density).result().model
    assert [int(w.count_nonzero()) for w in maps(model)] == [int(density * w.numel()) for w in maps(model)]
    model = trained(context(), density=density, scope="global").result().model
    assert sum(int(w.count_nonzero()) for w in maps(model)) == int(density * sum(w.numel() for w in maps(model)))
    assert len({int(w.count_nonzero()) / w.numel() for w in maps(model)}) > 1


@pytest.mark.parametrize(
    ("name", "family"), [*(("magnitude", family) for family in FAMILY_NAMES), ("movement", "bert"), ("rpp", "bert")]
)
def test_the_baked_model_gives_what_the_masked_one_gives(tmp_path: Any, name: str, family: str) -> None:
    method = trained(context(family=family, rows=24), name, density=0.5)
    with pytest.raises(TrimformerError, match="still under a transformation"):
        trim(method.model, method.decide())
    model = method.result().model
    assert all(torch.equal(one, other) for one, other in zip(maps(model), maps(method.model), strict=True))
    torch.testing.assert_close(logits(model), logits(method.model), atol=1e-5, rtol=0)
    model.save_pretrained(tmp_path)
    assert is_packed(tmp_path / "model.safetensors")
    assert torch.equal(logits(load(tmp_path).eval()), logits(model))
    assert trim(model, method.decide()).config.shapes == model.config.shapes


def test_layers_that_share_their_weights_have_one_mask() -> None:
    method = make_method("magnitude", context(family="albert"), density=0.5)
    assert len(method.weights) == 6
    first, *others = method.model.encoder.layers
    assert all(layer.ffn_in is first.ffn_in for layer in others)


def test_masks_come_from_the_dense_weights_so_that_a_weight_can_come_back() -> None:
    stage = context()
    method = make_method("magnitude", stage, density=0.5, end=0.1)
    method.mask(0.5)
    weight = method.weights["0.ffn_in"]
    place = tuple((~weight[0].mask).nonzero()[0].tolist())
    dense = weight.original[place].item()
    assert dense != 0
    method.micro_step(batches(stage, 1)[0], 1.0)
    assert weight.original.grad[place] == 0
    with torch.no_grad():
        weight.original[place] = 9.0
    method.mask(0.5)
    assert weight[0].mask[place]
    assert method.model.encoder.layers[0].ffn_in.weight[place] == 9.0


def test_the_report_says_what_is_gained_and_what_not() -> None:
    notes = trained(context(rows=8), density=0.25).result().notes
    assert notes[0].startswith("1,344 of 5,376 weights of the layers' linear maps stay (25.0%)")
    assert "a zero is saved as a bit" in notes[1]
    assert "as long as before" in notes[1]


def test_an_end_before_the_beginning_is_refused() -> None:
    with pytest.raises(TrimformerError, match=r"end=0\.2 lies before begin=0\.5"):
        make_method("magnitude", context(), density=0.5, begin=0.5, end=0.2)


@pytest.mark.parametrize("name", ["magnitude", "movement", "rpp", "block-movement"])
def test_layers_without_linear_maps_are_refused_before_any_training(name: str) -> None:
    config = TrimformerConfig(
        layer_kind="bilstm", layers=[dataclasses.asdict(each) for each in LAYERS["bilstm"].examples]
    )
    with pytest.raises(TrimformerError, match=f"no linear maps whose weights {name} could mask"):
        METHODS[name].after(METHODS[name].Settings(density=0.5), config)
