"""Weight squeezing: what the maps start as, what is trained, and that folding them changes nothing."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch

from tests.learning import batches, context, make_method
from tests.models import DISTINCT_FAMILIES, padded_batch, points_of, tiny
from trimformer import Gates, LayerShape, TrimformerError, load, trim
from trimformer.encoder.model.heads import head_class
from trimformer.encoder.parts.baked import bake, transformed
from trimformer.encoder.shape.config import TrimformerConfig
from trimformer.methods import METHODS
from trimformer.methods.weights.squeeze import chosen, origins_of, squeeze


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model.eval()(**padded_batch(model)).logits
    return found


def first(count: int, size: int) -> torch.Tensor:
    return (torch.arange(size) < count).float()


def narrower(teacher: Any, layers: list[int]) -> Any:
    """These layers of the teacher, without the last of its hidden dimensions, values, scores and units."""
    count = teacher.config.num_hidden_layers
    gates = {
        "hidden": first(6, 16),
        "values": [first(4, 8).expand(2, -1)] * count,
        "query_key": [first(2, 8).expand(2, -1)] * count,
        "ffn": [first(9, 24)] * count,
        "layers": torch.tensor([float(index in layers) for index in range(count)]),
    }
    able = points_of(teacher) if teacher.config.sharing is None else gates  # layers that share lose the same here
    return trim(teacher, Gates(**{name: given for name, given in gates.items() if name in able}))


@pytest.mark.parametrize("family", DISTINCT_FAMILIES)
def test_maps_that_choose_start_as_the_teacher_cut_to_the_first_dimensions(family: str) -> None:
    teacher = tiny(4, family=family)
    cut = narrower(teacher, [0, 1, 2, 3])
    student = type(cut)(cut.config).eval()
    squeeze(student, teacher, "cut")
    torch.testing.assert_close(logits(student), logits(cut), atol=2e-6, rtol=0)


@pytest.mark.parametrize("layers", [1, 2])
def test_layers_are_matched_evenly(layers: int) -> None:
    teacher = tiny(4)
    cut = narrower(teacher, [3] if layers == 1 else [1, 3])
    student = type(cut)(cut.config).eval()
    squeeze(student, teacher, "cut")
    torch.testing.assert_close(logits(student), logits(cut), atol=2e-6, rtol=0)


def stage_of(**options: Any) -> Any:
    """A student half as wide, with half as large blocks and as many heads."""
    stage = context(teacher={}, **options)
    config = stage.model.config
    shapes = [dataclasses.replace(shape, heads=2, head_size=4, ffn=12) for shape in config.shapes[:2]]
    narrow = config.to_dict() | {"hidden_size": 8, "layers": [shape.to_dict() for shape in shapes]}
    if config.sharing is not None:
        narrow["sharing"] = [0, 0]
    torch.manual_seed(3)
    student = head_class("classification")(TrimformerConfig.from_dict(narrow)).eval()
    return dataclasses.replace(stage, model=student)


@pytest.mark.parametrize("init", ["cut", "random"])
@pytest.mark.parametrize("family", DISTINCT_FAMILIES)
def test_folded_equals_unfolded_and_the_teacher_stays(family: str, init: str, tmp_path: Any) -> None:
    stage = stage_of(family=family, layers=4)
    before = {name: weight.clone() for name, weight in stage.teacher.state_dict().items()}
    method = make_method("squeeze", stage, init=init)
    start = logits(bake(method.model))
    for step, batch in enumerate(batches(stage, 3), 1):
        method.micro_step(batch, 1.0)
        method.update(step)
    unfolded = logits(method.model)
    with torch.no_grad():
        folded = method.result().model
    torch.testing.assert_close(logits(folded), unfolded, atol=1e-6, rtol=0)
    assert not torch.allclose(unfolded, start)
    assert not transformed(folded)
    assert all(isinstance(weight, torch.nn.Parameter) for weight in folded.parameters())
    assert all(torch.equal(weight, before[name]) for name, weight in stage.teacher.state_dict().items())
    folded.save_pretrained(tmp_path / "student")
    torch.testing.assert_close(logits(load(tmp_path / "student")), logits(folded), atol=1e-6, rtol=0)


def test_what_is_trained_are_the_maps_alone() -> None:
    method = make_method("squeeze", stage_of(layers=4))
    names = [name for name, weight in method.model.named_parameters() if weight.requires_grad]
    plain = [name for name in names if ".parametrizations." not in name]
    assert plain == ["head.output.bias"]  # labels are those of the teacher
    sizes = {name: tuple(weight.shape) for name, weight in method.model.named_parameters()}
    assert sizes["encoder.embeddings.word.parametrizations.weight.original0"] == (16, 8)
    assert sizes["encoder.layers.0.ffn_in.parametrizations.weight.original0"] == (12, 24)
    assert sizes["encoder.layers.0.ffn_in.parametrizations.weight.original1"] == (16, 8)
    assert sizes["encoder.layers.0.ffn_norm.parametrizations.bias.original0"] == (8, 16)
    method.micro_step(batches(method.context, 1)[0], 1.0)
    assert all(weight.grad is not None for weight in method.model.parameters())
    assert not any("teacher" in name for name in method.model.state_dict())  # a checkpoint does not hold it
    learned = sum(weight.numel() for weight in method.model.parameters())
    folded = sum(weight.numel() for weight in method.result().model.parameters())
    assert method.notes() == [
        f"the student's {folded:,} weights were made of the dense model's by {learned:,} learned numbers and folded at "
        "the end."
    ]


def test_a_matrix_is_left_map_times_teacher_times_right_map() -> None:
    method = make_method("squeeze", stage_of(layers=4), init="random")
    layer, theirs = method.model.encoder.layers[0], method.context.teacher.encoder.layers[1]
    left, right = layer.ffn_in.parametrizations.weight.parameters()
    torch.testing.assert_close(layer.ffn_in.weight, left @ theirs.ffn_in.weight @ right)
    (left,) = layer.ffn_in.parametrizations.bias.parameters()
    torch.testing.assert_close(layer.ffn_in.bias, left @ theirs.ffn_in.bias)
    word, table = method.model.encoder.embeddings.word, method.context.teacher.encoder.embeddings.word
    (right,) = word.parametrizations.weight.parameters()
    torch.testing.assert_close(word.weight, table.weight @ right)


def wide(hidden: int) -> Any:
    layers = [LayerShape("full", 2, hidden // 2, 2 * hidden).to_dict()]
    config = tiny(1).config.to_dict() | {"hidden_size": hidden, "layers": layers}
    torch.manual_seed(0)
    return head_class("classification")(TrimformerConfig.from_dict(config))


def test_random_maps_leave_weights_as_large_as_they_are() -> None:
    teacher, student = (wide(hidden) for hidden in (128, 64))
    squeeze(student, teacher, "random")
    ours, theirs = (model.encoder.layers[0].ffn_in.weight.detach().std().item() for model in (student, teacher))
    assert ours == pytest.approx(theirs, rel=0.1)


@pytest.mark.parametrize(
    ("axis", "sizes", "ours", "theirs", "rows"),
    [
        ("ffn", (2, 3), None, None, [0, 1]),
        ("ffn", (4, 3), None, None, [0, 1, 2, 0]),
        ("values", (4, 6), (2, 2), (2, 3), [0, 1, 3, 4]),
        ("outputs", (4, 4), (2, 2), (1, 4), [0, 1, 0, 1]),
        ("stream", (4, 6), (2, 2), (2, 3), [0, 1, 2, 3]),
    ],
)
def test_the_first_rows_of_each_head_are_chosen(
    axis: str, sizes: tuple[int, int], ours: Any, theirs: Any, rows: list[int]
) -> None:
    shapes = [given and LayerShape("full", *given, 8) for given in (ours, theirs)]
    assert chosen(axis, sizes, *shapes).argmax(1).tolist() == rows


def test_what_cannot_be_made_of_the_dense_model_is_refused_before_any_training() -> None:
    beside, dense = METHODS["squeeze"].check_beside, tiny(4).config
    narrow = TrimformerConfig.from_dict(
        dense.to_dict() | {"hidden_size": 8, "layers": [LayerShape("full", 2, 4, 12).to_dict()] * 2}
    )
    beside(narrow, dense, True)
    with pytest.raises(TrimformerError, match="another tokenizer than the dense model"):
        beside(narrow, dense, False)
    with pytest.raises(TrimformerError, match="the dense model's own shape: name a student"):
        beside(dense, dense, True)
    trimmed = trim(tiny(4), attention={3: "mean"}).config
    with pytest.raises(TrimformerError, match=r"layers.1.attention.query.weight .* made of layers.3.attention.query"):
        beside(narrow, trimmed, True)
    fewer = TrimformerConfig.from_dict(narrow.to_dict() | {"max_position_embeddings": 20})
    with pytest.raises(TrimformerError, match="the same tokens and positions"):
        beside(fewer, dense, True)
    assert origins_of(tiny(2), tiny(4))["encoder.layers.0.ffn_in.weight"].name == "encoder.layers.1.ffn_in.weight"


def test_a_head_that_has_the_word_table_is_refused() -> None:
    model = head_class("masked-lm")(tiny(2).config)
    with pytest.raises(TrimformerError, match="cannot train a masked language model"):
        origins_of(model, model)
