"""MobileBERT's layer gives what the stock one gives, and its norm is an affine map."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import MobileBertConfig
from transformers.models.mobilebert.modeling_mobilebert import MobileBertLayer

from tests.models import padded_batch, with_layers
from trimformer import LayerShape, TrimformerConfig, TrimformerError
from trimformer.encoder.parts.layers.bottleneck import BottleneckLayer, bottleneck_shape
from trimformer.encoder.parts.norms import NoNorm
from trimformer.encoder.parts.tokens import Tokens

NAMES = {
    "down": "bottleneck.input.dense", "down_norm": "bottleneck.input.LayerNorm",
    "shared": "bottleneck.attention.dense", "shared_norm": "bottleneck.attention.LayerNorm",
    "query": "attention.self.query", "key": "attention.self.key", "value": "attention.self.value",
    "output": "attention.output.dense", "attention_norm": "attention.output.LayerNorm",
    "blocks.0.ffn_in": "ffn.0.intermediate.dense", "blocks.0.ffn_out": "ffn.0.output.dense",
    "blocks.0.norm": "ffn.0.output.LayerNorm", "blocks.1.ffn_in": "intermediate.dense",
    "blocks.1.ffn_out": "output.dense", "blocks.1.norm": "output.LayerNorm",
    "up": "output.bottleneck.dense", "up_norm": "output.bottleneck.LayerNorm",
}  # fmt: skip
"""The names of ours and of the stock layer, for two blocks."""


@pytest.mark.parametrize("asked", [None, 1])
def test_it_gives_what_the_stock_layer_gives(asked: int | None) -> None:
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"hidden_size": 16, "intra_bottleneck_size": 8, "num_attention_heads": 2}
    stock = MobileBertLayer(
        MobileBertConfig(
            **sizes, intermediate_size=12, num_feedforward_networks=2, true_hidden_size=8, attn_implementation="eager"
        )
    ).eval()
    config = TrimformerConfig(hidden_size=16, hidden_act="relu", layer_kind="bottleneck")
    ours = BottleneckLayer(config, bottleneck_shape(8, 2, 2, 12)).eval()
    for weight in stock.parameters():
        torch.nn.init.normal_(weight, std=0.4)
    given = stock.state_dict()
    found = {f"{name}.{leaf}": given[f"{old}.{leaf}"] for name, old in NAMES.items() for leaf in ("weight", "bias")}
    assert len(found) == len(given)
    ours.load_state_dict(found)
    x, mask = torch.randn(3, 5, 16), (torch.arange(5)[None] < torch.tensor([5, 3, 1])[:, None]).long()
    bias = (1 - mask[:, None, None].float()) * torch.finfo(torch.float32).min
    tokens = Tokens(x, mask, traced=asked is None)
    with torch.no_grad():
        expected = stock(x, attention_mask=bias)
        expected = expected[0] if isinstance(expected, tuple) else expected
        left, _ = ours(x, tokens.ask(asked))
    torch.testing.assert_close(left, expected[:, :asked], atol=1e-5, rtol=1e-5)
    if tokens.trace is None:
        return
    found = tokens.trace[ours.attention]
    context = torch.softmax(found.scores + bias, -1) @ found.value
    with torch.no_grad():
        body = ours.down_norm(ours.down(x)) + ours.output(context.transpose(1, 2).flatten(2))
        y = ours.attention_norm(body)
        for block in ours.blocks:
            y = block(y)
        torch.testing.assert_close(ours.up_norm(x + ours.up(y)), left, atol=1e-5, rtol=1e-5)


def test_its_norm_is_an_affine_map() -> None:
    norm, x = NoNorm(4), torch.randn(2, 3, 4)
    torch.nn.init.normal_(norm.weight)
    torch.nn.init.normal_(norm.bias)
    torch.testing.assert_close(norm(x), norm.weight * x + norm.bias)


def test_a_stack_of_them_learns() -> None:
    model = with_layers("bottleneck").train()
    model(**padded_batch(model)).logits.sum().backward()
    assert all(weight.grad is not None for weight in model.encoder.layers.parameters())


@pytest.mark.parametrize("changes", [{"heads": 3}, {"blocks": 0}, {"units": None}])
def test_sizes_that_do_not_fit_are_refused(changes: dict[str, Any]) -> None:
    cell = {"body": 8, "heads": 2, "blocks": 1, "units": 4} | changes
    with pytest.raises(TrimformerError, match="of which heads divides body"):
        TrimformerConfig(layer_kind="bottleneck", layers=[LayerShape("none", 1, 1, 0, cell=cell).to_dict()])
