"""Block movement pruning: blocks and units die together, and what is dead whole is cut out without a change."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch

from tests.learning import batches, context, make_method
from tests.methods.weights.test_movement import trained
from tests.models import FAMILY_NAMES, padded_batch
from trimformer import TrimformerConfig, TrimformerError
from trimformer.encoder.parts.baked import bake
from trimformer.encoder.shape.kinds import LAYERS
from trimformer.methods import METHODS


def logits(model: Any, **given: Any) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model.eval()(**padded_batch(model), **given).logits
    return found


@pytest.mark.parametrize("blocks", ["hybrid", "struct"])
@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_what_is_cut_out_gives_what_the_masked_model_gives(family: str, blocks: str) -> None:
    method = trained(context(family=family), "block-movement", density=0.3, block=3, blocks=blocks)
    found, gates = method.result().model, method.decide()
    masked = bake(method.model)
    torch.testing.assert_close(logits(masked, gates=gates), logits(masked), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(logits(found), logits(masked), atol=1e-5, rtol=1e-5)
    assert sum(shape.ffn for shape in found.config.shapes) < sum(shape.ffn for shape in masked.config.shapes)


def test_a_dead_head_is_removed_with_its_bias() -> None:
    stage = context()
    method = make_method("block-movement", stage, density=0.9, block=4)
    shape = method.model.config.shapes[1]
    with torch.no_grad():
        method.model.encoder.layers[1].attention.value.parametrizations.bias.original.fill_(3.0)
        value = method.scores["encoder.layers.1.attention.value"][0]
        output = method.scores["encoder.layers.2.attention.output"][0]
        per_head = shape.head_size // 4
        value.scores[:per_head] = -9.0  # the rows of the first head
        output.scores[:, -per_head:] = -9.0  # the columns of the last
    method.prune(stage.steps)
    found = method.result()
    heads = [each.heads for each in found.model.config.shapes]
    assert heads == [shape.heads, shape.heads - 1, shape.heads - 1]
    torch.testing.assert_close(logits(found.model), logits(bake(method.model)), atol=1e-5, rtol=0)
    assert "2 of 6 heads" in found.notes[1]


def test_a_unit_has_one_score_for_its_row_and_its_column() -> None:
    stage = context()
    method = make_method("block-movement", stage, density=0.5, block=4)
    first, second = method.scores["0.ffn"]
    assert first.scores is second.scores
    assert first.scores.shape == (len(first.mask), 1)
    method.micro_step(batches(stage, 1)[0], 1.0)
    layer = method.model.encoder.layers[0]
    # The score's gradient is the sum over row and column of the weight times its gradient.
    rows, columns = layer.ffn_in.parametrizations.weight.original, layer.ffn_out.parametrizations.weight.original
    wanted = (rows * rows.grad).sum(1) + (columns * columns.grad).sum(0)
    torch.testing.assert_close(first.scores.grad[:, 0], wanted, atol=1e-7, rtol=1e-4)
    method.update(stage.steps)
    assert torch.equal(first.mask.any(1), first.mask.all(1))
    assert torch.equal(first.mask.any(1), second.mask.any(0))
    assert torch.equal(layer.ffn_in.parametrizations.bias[0].mask, first.mask.any(1))


def test_the_score_of_a_block_sums_over_its_weights_also_at_the_edge() -> None:
    stage = context()
    method = make_method("block-movement", stage, density=0.5, block=5)
    method.micro_step(batches(stage, 1)[0], 1.0)
    scored = method.weights["encoder.layers.0.attention.query"]
    products = scored.original.detach() * scored.original.grad
    assert products.shape == (16, 16)
    grad = scored[0].scores.grad
    assert grad.shape == (4, 4)
    torch.testing.assert_close(grad[1, 2], products[5:10, 10:15].sum(), atol=1e-7, rtol=1e-4)
    torch.testing.assert_close(grad[3, 3], products[15:, 15:].sum(), atol=1e-7, rtol=1e-4)


def test_attention_and_units_each_keep_the_density() -> None:
    method = trained(context(), "block-movement", density=0.25, block=4)
    for group in method.rivals():
        masks = [method.scores[name][0].mask for name in group]
        kept, count = sum(int(mask.sum()) for mask in masks), sum(mask.numel() for mask in masks)
        assert kept / count == pytest.approx(0.25, abs=0.01)


def test_zeros_in_what_is_kept_are_counted_and_filled_by_a_fine_tuning() -> None:
    stage = context()
    found = trained(stage, "block-movement", density=0.5, block=4).result()
    maps = [m.weight for m in found.model.encoder.layers.modules() if isinstance(m, torch.nn.Linear)]
    zeros, count = sum(int((weight == 0).sum()) for weight in maps), sum(weight.numel() for weight in maps)
    assert zeros > 0
    assert f"Of the {count:,} weights left in these maps {zeros:,} are 0" in found.notes[2]
    filled = trained(dataclasses.replace(stage, model=found.model), "finetune").result().model
    after = [m.weight for m in filled.encoder.layers.modules() if isinstance(m, torch.nn.Linear)]
    assert sum(int((weight == 0).sum()) for weight in after) < zeros / 10


@pytest.mark.parametrize("kind", ["bilstm", "bottleneck"])
def test_layers_of_which_nothing_can_be_cut_out_are_refused_before_any_training(kind: str) -> None:
    shapes = [dataclasses.asdict(shape) for shape in LAYERS[kind].examples]
    config = TrimformerConfig(hidden_size=16, layer_kind=kind, layers=shapes)
    with pytest.raises(TrimformerError, match="block-movement c"):
        METHODS["block-movement"].after(METHODS["block-movement"].Settings(density=0.5), config)
