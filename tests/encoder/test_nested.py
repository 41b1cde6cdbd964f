"""Models that hold smaller ones: another order of heads and units changes no answer, and the first ones can be cut."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.models import FAMILY_NAMES, padded_batch, tiny, trained
from trimformer import Gates, TrimformerError, trim
from trimformer.encoder.gating.nested import kept_layers, nested_gates
from trimformer.encoder.gating.reorder import reordered


def logits(model: Any, gates: Gates | None = None) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model.eval()(**padded_batch(model), gates=gates).logits
    return found


def shuffled(model: Any) -> Any:
    """The model with its heads turned round and its units at random places, the same in layers that share weights."""
    orders = []
    for index, shape in enumerate(model.config.shapes):
        generator = torch.Generator().manual_seed(0 if model.config.sharing else index)
        orders.append((torch.arange(shape.heads).flip(0), torch.randperm(shape.ffn, generator=generator)))
    heads, units = zip(*orders, strict=True)
    return reordered(model, heads, units)


@pytest.mark.parametrize("kinds", [{}, {0: "mean", 1: "gaussian"}, {1: "conv", 2: "none"}], ids=str)
@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_another_order_gives_the_same_answers_and_nests(family: str, kinds: dict[int, str]) -> None:
    model = trained(trim(tiny(family=family).double(), attention=kinds))
    other = shuffled(model)
    torch.testing.assert_close(logits(other), logits(model), atol=1e-10, rtol=0)
    assert not torch.equal(other.encoder.layers[0].ffn_out.weight, model.encoder.layers[0].ffn_out.weight)
    gates = nested_gates(model.config, 0.5, 0.5)
    small = trim(other, gates)
    torch.testing.assert_close(logits(small), logits(other, gates), atol=1e-10, rtol=0)
    assert [shape.ffn for shape in small.config.shapes] == [12, 12]


def test_the_order_is_the_one_that_is_asked_for() -> None:
    model = tiny()
    other = reordered(model, [torch.tensor([1, 0])] * 3, [torch.arange(24).flip(0)] * 3)
    for before, after in zip(model.encoder.layers, other.encoder.layers, strict=True):
        for name in ("query", "key", "value"):
            weight = getattr(before.attention, name).weight
            assert torch.equal(getattr(after.attention, name).weight, torch.cat([weight[8:], weight[:8]]))
        assert torch.equal(after.ffn_in.bias, before.ffn_in.bias.flip(0))


def test_a_sub_network_is_the_small_model_of_the_first_heads_and_units() -> None:
    model = tiny()
    small = trim(model, nested_gates(model.config, 0.5, 1.0))
    for before, after in zip(model.encoder.layers, small.encoder.layers, strict=True):
        assert torch.equal(after.attention.value.weight, before.attention.value.weight[:8])
        assert torch.equal(after.attention.output.weight, before.attention.output.weight[:, :8])
        assert torch.equal(after.ffn_in.weight, before.ffn_in.weight[:12])
        assert torch.equal(after.ffn_out.weight, before.ffn_out.weight[:, :12])


@pytest.mark.parametrize(
    ("depth", "layers", "kept"),
    [
        (0.5, 12, [0, 2, 4, 6, 8, 10]),
        (0.75, 12, [0, 1, 2, 4, 5, 6, 8, 9, 10]),
        (1.0, 3, [0, 1, 2]),
        (0.75, 6, [0, 1, 2, 4]),
        (0.1, 3, [0]),
    ],
)
def test_the_layers_of_a_depth(depth: float, layers: int, kept: list[int]) -> None:
    assert kept_layers(depth, layers) == kept


@pytest.mark.parametrize("layers", range(1, 26))
@pytest.mark.parametrize("depth", [0.05, 0.25, 1 / 3, 0.5, 2 / 3, 0.75, 0.9, 1.0])
def test_the_layers_of_a_depth_exist_and_differ(layers: int, depth: float) -> None:
    kept = kept_layers(depth, layers)
    assert kept[0] == 0
    assert len(kept) == max(1, round(depth * layers))
    assert sorted(set(kept)) == kept
    assert kept[-1] < layers


def nesting(**others: Any) -> Any:
    return tiny(nested={"widths": [1.0, 0.5], "depths": [1.0, 0.5]}, **others)


@pytest.mark.parametrize("wanted", [{"width": 0.5}, {"depth": 0.5}, {"width": 0.5, "depth": 0.5}], ids=str)
def test_trim_cuts_out_what_was_trained(wanted: dict[str, float]) -> None:
    model = nesting()
    gates = nested_gates(model.config, wanted.get("width", 1.0), wanted.get("depth", 1.0))
    small = trim(model, **wanted)
    torch.testing.assert_close(logits(small), logits(model, gates), atol=1e-5, rtol=0)
    with pytest.raises(TrimformerError, match="was not trained to hold smaller ones"):
        trim(small, **wanted)  # nor does it hold any


def test_what_was_not_trained_is_not_cut_out() -> None:
    with pytest.raises(TrimformerError, match=r"method dynabert \(trimformer compress MODEL --method dynabert\)"):
        trim(tiny(), width=0.5)
    with pytest.raises(TrimformerError, match=r"No width of 0.75 was trained in this model: choose one of 1, 0.5"):
        trim(nesting(), width=0.75)
    with pytest.raises(TrimformerError, match=r"No depth of 0.25 was trained"):
        trim(nesting(), depth=0.25)
    with pytest.raises(TrimformerError, match="give one"):
        trim(nesting(), attention={0: "mean"}, width=0.5)


def test_any_other_cut_forgets_that_it_nested(tmp_path: Any) -> None:
    nesting().save_pretrained(tmp_path)
    loaded = type(tiny()).from_pretrained(tmp_path)
    assert loaded.config.nested == {"widths": [1.0, 0.5], "depths": [1.0, 0.5]}
    assert trim(loaded, attention={0: "mean"}).config.nested is None
