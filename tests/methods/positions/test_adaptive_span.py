"""Adaptive span: the soft window to the digit, its gradient, and the real windows that are left in the end."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
import torch

from tests.learning import batches, context, make_method
from tests.methods.positions.test_dam import inputs, neighbours
from tests.models import FAMILY_NAMES, tiny
from trimformer import TrimformerError, trim
from trimformer.encoder.checkpoints.load import load_with_head
from trimformer.methods.positions.adaptive_span import saved, spans
from trimformer.methods.positions.masks import masked_layers
from trimformer.methods.positions.windows import HeadSpans, soft_windows
from trimformer.training.loop import train


def with_spans(stage: Any, *spans: list[float], **settings: Any) -> Any:
    """A method at its end, whose heads have these spans: one list for each set of layers, or one for all."""
    method = make_method("adaptive-span", stage, **settings)
    shares = method.spans.shares
    for share, own in zip(shares, spans if len(spans) > 1 else spans * len(shares), strict=True):
        share.data = torch.tensor(own) / method.spans.largest
    method.step = stage.steps
    method.model.eval()
    return method


def test_the_window_has_the_values_of_the_formula() -> None:
    found = soft_windows(torch.tensor([0.0, 1.5, 100.0]), 4, 8, 0)
    assert found.shape == (3, 8, 8)
    assert found[0, 0].tolist() == [1.0, 0.75, 0.5, 0.25, 0.0, 0.0, 0.0, 0.0]
    assert found[1, 0].tolist() == [1.0, 1.0, 0.875, 0.625, 0.375, 0.125, 0.0, 0.0]
    assert (found[2] == 1).all()
    assert torch.equal(found, found.transpose(1, 2))
    assert found[1, 5].tolist() == [0.125, 0.375, 0.625, 0.875, 1.0, 1.0, 1.0, 0.875]


def test_whole_spans_and_a_ramp_of_one_are_hard_windows() -> None:
    places = torch.arange(9)
    distance = (places[:, None] - places).abs()
    for span in range(9):
        found = soft_windows(torch.tensor([float(span)]), 1, 9, 0)[0]
        assert torch.equal(found, (distance <= span).float())
    first = soft_windows(torch.tensor([0.0]), 1, 9, 2)[0]
    assert torch.equal(first, ((distance == 0) | (places < 2) | (places < 2)[:, None]).float())


def test_a_window_has_the_gradient_one_over_the_ramp_within_its_edge() -> None:
    span = torch.tensor([2.0], requires_grad=True)
    for distance, expected in enumerate([0, 0, 0, 0.25, 0.25, 0.25, 0, 0]):
        (found,) = torch.autograd.grad(soft_windows(span, 4, 8, 0)[0, 0, distance], span)
        assert found.item() == expected or distance in (2, 6)  # at the corners either side's is right


def test_it_starts_as_the_dense_model() -> None:
    stage = context()
    method = make_method("adaptive-span", stage)
    batch = inputs(batches(stage, 1)[0])
    method.model.eval()
    gates = method.gates(method.spans(), batch["input_ids"].shape[1])
    torch.testing.assert_close(method.model(**batch, gates=gates).logits, method.model(**batch).logits)


def test_the_penalty_is_that_of_the_mean_span_and_its_gradient_alone_shortens_all() -> None:
    """Where attention gives nothing, the derivative is λ / heads for each share."""
    stage = context(epochs=5, learning_rate=1e-12)
    for layer in stage.model.encoder.layers:
        torch.nn.init.zeros_(layer.attention.output.weight)
    method = make_method("adaptive-span", stage, penalty=0.3, span_learning_rate=0.05)
    assert method.micro_step(batches(stage, 1)[0], 1.0)["span"] == 11  # the longest row has 12 tokens
    for share in method.spans.shares:
        torch.testing.assert_close(share.grad, torch.full((2,), 0.3 / 6))
    method.update(1)
    for share in method.spans.shares:
        torch.testing.assert_close(share.data, torch.full((2,), 0.95))
    for step in range(2, 31):
        method.micro_step(batches(stage, 1)[0], 1.0)
        method.update(step)
    assert all((share == 0).all() for share in method.spans.shares)


def test_the_ramp_narrows_to_one_token_by_the_last_step() -> None:
    method = make_method("adaptive-span", context(), ramp=13)
    assert method.context.steps == 6
    found = [method.ramp]
    for step in range(1, 7):
        method.step = step
        found.append(method.ramp)
    assert found == pytest.approx([13, 11, 9, 7, 5, 3, 1])
    assert found[-1] == 1


@pytest.mark.parametrize("special", [True, False])
@pytest.mark.parametrize(
    "own", [[[2.0, 5.0], [0.0, 3.0], [11.0, 1.0]], [[0.0, 0.0], [1.0, 0.0], [4.0, 4.0]]], ids=["one", "whole layer"]
)
def test_the_trimmed_model_gives_what_the_masked_one_gives(own: Any, special: bool) -> None:
    stage = context()
    method = with_spans(stage, *own, special=special)
    left = method.result().model.eval()
    for batch in batches(stage, 3):
        batch = inputs(batch)
        n = batch["input_ids"].shape[1]
        soft = method.model(**batch, gates=method.gates(method.spans(), n)).logits  # spans are whole: 0 or 1
        torch.testing.assert_close(left(**batch).logits, soft, atol=1e-6, rtol=0)
        hard = method.decide()
        hard = hard.replace(positions=[own[..., :n, :n] for own in hard.positions])
        torch.testing.assert_close(left(**batch).logits, method.model(**batch, gates=hard).logits, atol=1e-6, rtol=0)
        assert not torch.allclose(method.model(**batch).logits, soft, atol=1e-4)


def test_each_head_has_its_window_and_those_without_are_cut() -> None:
    method = with_spans(context(), [2.3, 5.0], [0.0, 3.0], [0.0, 0.0])
    model = method.result().model
    kinds = [(shape.attention, shape.heads) for shape in model.config.shapes]
    assert kinds == [("sparse", 2), ("sparse", 1), ("bias", 2)]
    assert model.config.shapes[0].own["pattern"] == {"name": "spans", "spans": [3, 5], "special": True}
    assert model.config.shapes[1].own["pattern"]["spans"] == [3]
    said = method.notes()
    assert (
        "The 6 heads look 1.8 tokens to each side in the mean, of 11 that they could (by layer 4.0, 1.5, 0.0)." in said
    )
    assert "3 of them look at nothing, and are cut." in said


def test_a_head_that_fades_keeps_its_strength_in_the_weights() -> None:
    stage = context()
    method = with_spans(stage, [0.25, 4.0])
    before = method.model.encoder.layers[0].attention.output.weight.detach()
    after = method.result().model.encoder.layers[0].attention.output.weight
    torch.testing.assert_close(after[:, :8], before[:, :8] * 0.25)
    torch.testing.assert_close(after[:, 8:], before[:, 8:])


def test_heads_that_see_all_that_a_text_can_have_leave_full_attention() -> None:
    method = with_spans(context(), [39.0, 39.0], [39.0, 2.0], [38.0, 39.0], max_span=39)
    assert [shape.attention for shape in method.result().model.config.shapes] == ["full", "sparse", "sparse"]
    dense = with_spans(context(), [39.0, 39.0], max_span=39)
    batch = inputs(batches(dense.context, 1)[0])
    left = dense.result().model.eval()
    torch.testing.assert_close(left(**batch).logits, dense.model(**batch).logits, atol=0, rtol=0)


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_families(family: str) -> None:
    stage = context(family=family)
    if not masked_layers(stage.model.config):
        pytest.skip("this family has no full attention")
    method = with_spans(stage, [3.0, 0.0])
    left, batch = method.result().model.eval(), inputs(batches(stage, 1)[0])
    soft = method.model(**batch, gates=method.gates(method.spans(), batch["input_ids"].shape[1]))
    torch.testing.assert_close(left(**batch).logits, soft.logits, atol=1e-5, rtol=0)
    assert {shape.heads for shape in left.config.shapes if shape.attention == "sparse"} == {1}
    if stage.model.config.sharing is not None:  # the spans of layers that share their weights are the same
        assert len(method.spans.shares) == 1


def test_heads_of_weights_that_a_layer_without_spans_has_too_are_not_cut() -> None:
    stage = context(family="albert", attention={1: "mean"})
    method = with_spans(stage, [3.0, 0.0])
    left, batch = method.result().model.eval(), inputs(batches(stage, 1)[0])
    assert [shape.heads for shape in left.config.shapes] == [2, 2, 2]
    assert left.config.shapes[0].own["pattern"]["spans"] == [3, 0]
    soft = method.model(**batch, gates=method.gates(method.spans(), batch["input_ids"].shape[1]))
    torch.testing.assert_close(left(**batch).logits, soft.logits, atol=1e-5, rtol=0)
    assert any("Nothing was learned for the layers 1" in note for note in method.notes())


def test_of_a_task_of_neighbours_a_short_window_is_left(tmp_path: Any) -> None:
    stage = context(kind="tokens", layers=1, epochs=30, batch_size=32, learning_rate=3e-3, keep_best=False)
    data = neighbours(640, 1)
    stage = dataclasses.replace(stage, train=data, selection=data, steps=600)
    method = make_method("adaptive-span", stage, special=False, ramp=4)
    train(method, data, stage.training, stage.accelerator, tmp_path, seed=0, title="toy")
    (spans,) = method.spans.whole()
    assert 1 <= spans.max() <= 2
    steps, means = zip(*method.history.curves["span"], strict=True)
    assert steps == tuple(range(1, 601))
    assert means[0][0] > 10


def test_spans_have_no_decay_and_a_rate_of_their_own() -> None:
    groups = make_method("adaptive-span", context()).networks["spans"].optimizer.param_groups
    assert {group["weight_decay"] for group in groups} == {0.0}
    assert {group["lr"] for group in groups} == {4 / 6}


def test_spans_are_rounded_up_but_for_rounding() -> None:
    spans = HeadSpans([4], 11)
    spans.shares[0].data = torch.tensor([0.0, 3 / 11, 3.2 / 11, 1.0])
    assert spans.whole()[0].tolist() == [0, 3, 4, 11]


def test_mistakes_are_found_before_any_work() -> None:
    with pytest.raises(TrimformerError, match="No layer of this encoder has full attention whose span"):
        make_method("adaptive-span", context(attention={0: "mean", 1: "none", 2: "mean"}))
    with pytest.raises(TrimformerError, match=r"max_span=40 is out of range: .* at most 40 tokens, so set at most 39"):
        make_method("adaptive-span", context(), max_span=40)


def test_it_says_from_which_length_on_windows_save_time() -> None:
    said = with_spans(context(), [3.0, 1.0]).result().notes[-1]
    assert said.startswith("No window is short enough for blocks")
    wanted = {index: spans([index, 2], True) for index in (0, 2)}
    longer = trim(tiny(max_position_embeddings=400), attention=wanted)
    assert "in texts of at least so many tokens: 175 in layer 0, 175 in layer 2. Other layers" in saved(longer.config)
    added = trim(tiny(family="mpnet", max_position_embeddings=400), attention=wanted)  # blocks take no bias of pairs
    assert saved(added.config) == said


def test_learn_then_fine_tune_then_save_and_load(tmp_path: Any) -> None:
    stage = context()
    left = with_spans(stage, [2.0, 0.0], [3.0, 1.0], [11.0, 11.0]).result().model
    again = dataclasses.replace(stage, model=left)
    tuned = make_method("finetune", again)
    train(tuned, again.train, again.training, again.accelerator, tmp_path / "work", seed=0, title="tune")
    model = tuned.result().model.eval()
    assert model.config.shapes == left.config.shapes
    model.save_pretrained(tmp_path / "model")
    loaded, batch = load_with_head(tmp_path / "model").eval(), inputs(batches(stage, 1)[0])
    torch.testing.assert_close(loaded(**batch).logits, model(**batch).logits, atol=0, rtol=0)


def test_who_looks_over_the_longest_row_of_training_has_no_window() -> None:
    method = make_method("adaptive-span", context())
    assert method.spans.largest < method.model.config.max_tokens - 1
    assert method.patterns() == {}
    method.spans.shares[0].data[0] = 0.5
    window, *others = method.patterns()[0]["pattern"]["spans"]
    assert window == math.ceil(method.spans.largest / 2)
    assert {*others} == {method.model.config.max_tokens - 1}
