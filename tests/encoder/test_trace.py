"""The trace: what each layer attended with, on request."""

import pytest
import torch

from tests.models import FAMILY_NAMES, padded_batch, tiny
from trimformer import Gates, TrimformerForQuestionAnswering, TrimformerForTokenClassification, trim
from trimformer.encoder.parts.tokens import near


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_the_trace_makes_the_output_of_each_layer(family):
    model = tiny(family=family).double()
    batch = padded_batch(model)
    outputs = []
    for layer in model.encoder.layers:
        layer.attention.register_forward_hook(lambda module, inputs, output: outputs.append(output))
    real = batch["attention_mask"].bool()
    with torch.no_grad():
        trace = model(**batch, output_trace=True).trace
        for layer, traced, output in zip(model.encoder.layers, trace, outputs, strict=True):
            allowed = real[:, None, None]
            if traced.window is not None:
                allowed = allowed & near(9, traced.window, allowed.device)
            context = traced.scores.masked_fill(~allowed, -1e30).softmax(-1) @ traced.value
            again = layer.attention.output(context.transpose(1, 2).flatten(2))
            torch.testing.assert_close(again[real], output[real], atol=1e-10, rtol=0)


def test_layers_that_attend_to_nothing_have_no_trace():
    model = trim(tiny(), attention={0: "mean"})
    batch = padded_batch(model)
    with torch.no_grad():
        trace = model(**batch, gates=Gates(attention=torch.tensor([1.0, 0.0, 1.0])), output_trace=True).trace
    assert [traced is not None for traced in trace] == [False, False, True]
    assert trace[2].query.shape == (4, 2, 9, 8)  # of all tokens, though the head reads the first alone


@pytest.mark.parametrize("head", [None, TrimformerForTokenClassification, TrimformerForQuestionAnswering])
def test_every_head_hands_it_out_and_answers_as_without(head):
    model = tiny() if head is None else head(tiny().config).eval()
    batch = padded_batch(model)
    with torch.no_grad():
        plain, traced = model(**batch), model(**batch, output_trace=True)
    assert plain.trace is None
    assert len(traced.trace) == 3
    torch.testing.assert_close(traced.logits, plain.logits, atol=1e-6, rtol=0)
