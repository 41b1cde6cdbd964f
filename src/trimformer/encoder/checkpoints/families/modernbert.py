"""ModernBERT (Warner et al., 2024): pre-norm layers with rotary positions, most of them with a window, and gated FFNs.

Its query, key and value weights are one matrix, and so are the two inner ones of the feed-forward block. Embeddings
and feed-forward blocks have one dropout rate here, that of the latter.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from transformers import (
    ModernBertForMaskedLM,
    ModernBertForQuestionAnswering,
    ModernBertForSequenceClassification,
    ModernBertForTokenClassification,
    ModernBertModel,
    PreTrainedConfig,
)

from ....errors import TrimformerError
from ...model.heads import (
    TrimformerForMaskedLM,
    TrimformerForQuestionAnswering,
    TrimformerForSequenceClassification,
    TrimformerForTokenClassification,
    TrimformerWithHead,
)
from ...shape.config import LayerShape, TrimformerConfig
from .family import Family

GLOBAL, LOCAL = "full_attention", "sliding_attention"
# Parts of a packed matrix, in their order; no stock model has these names.
PARTS = {"attn.Wqkv": ("attn.query", "attn.key", "attn.value"), "mlp.Wi": ("mlp.inner", "mlp.gate")}
# Fields that are the same under other names.
OWN_FIELDS = {
    "classifier_pooling": "classifier_pooling",
    "classifier_act": "classifier_activation",
    "classifier_bias": "classifier_bias",
    "attention_bias": "attention_bias",
    "ffn_bias": "mlp_bias",
    "norm_bias": "norm_bias",
}


class ModernBertFamily(Family):
    def own_fields(self, stock: PreTrainedConfig) -> dict[str, Any]:
        for kind in set(stock.layer_types):
            if stock.rope_parameters[kind]["rope_type"] != "default":
                raise TrimformerError(
                    f"This checkpoint has rotary positions of type {stock.rope_parameters[kind]['rope_type']!r}: only "
                    "'default' is supported."
                )
        shapes = [
            LayerShape(
                attention="full",
                heads=stock.num_attention_heads,
                head_size=stock.hidden_size // stock.num_attention_heads,
                ffn=stock.intermediate_size,
                window=stock.local_attention if kind == LOCAL else None,
                rotary=stock.rope_parameters[kind]["rope_theta"],
            )
            for kind in stock.layer_types
        ]
        own = {name: getattr(stock, theirs) for name, theirs in OWN_FIELDS.items()}
        return super().own_fields(stock) | own | {"layers": [dataclasses.asdict(shape) for shape in shapes]}

    def own_stock_fields(self, config: TrimformerConfig) -> dict[str, Any]:
        own: dict[str, Any] = {theirs: getattr(config, name) for name, theirs in OWN_FIELDS.items()}
        bases = {LOCAL if shape.window else GLOBAL: shape.rotary for shape in config.shapes}
        windows = [shape.window for shape in config.shapes if shape.window]
        return own | {
            "embedding_dropout": config.hidden_dropout_prob,
            "layer_types": [LOCAL if shape.window else GLOBAL for shape in config.shapes],
            "rope_parameters": {kind: {"rope_type": "default", "rope_theta": base} for kind, base in bases.items()},
            **({"local_attention": windows[0]} if windows else {}),
        }

    def plain(self, shape: LayerShape) -> LayerShape:
        return dataclasses.replace(shape, window=None, rotary=None)

    def names_of_head(self, head: type[TrimformerWithHead] | None) -> Mapping[str, str]:
        return self.masked_lm_names if head is TrimformerForMaskedLM else self.head_names

    def unpack(self, weights: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        split = dict(weights)
        for whole, parts in PARTS.items():
            for name in [name for name in split if f".{whole}." in name]:
                chunks = split.pop(name).chunk(len(parts))
                split |= {name.replace(whole, part): chunk for part, chunk in zip(parts, chunks, strict=True)}
        return split

    def pack(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        packed = dict(weights)
        for whole, parts in PARTS.items():
            for name in [name for name in packed if f".{parts[0]}." in name]:
                chunks = [packed.pop(name.replace(parts[0], part)) for part in parts]
                packed[name.replace(parts[0], whole)] = torch.cat(chunks)
        return packed


MODERNBERT = ModernBertFamily(
    name="modernbert",
    prefix="model",
    body_class=ModernBertModel,
    head_classes={
        TrimformerForSequenceClassification: ModernBertForSequenceClassification,
        TrimformerForTokenClassification: ModernBertForTokenClassification,
        TrimformerForQuestionAnswering: ModernBertForQuestionAnswering,
        TrimformerForMaskedLM: ModernBertForMaskedLM,
    },
    config={
        "positions": "none",
        "type_vocab_size": 0,
        "attention_positions": "rotary",
        "layer_kind": "pre-norm",
        "classifier_norm": True,
    },
    renamed={
        "hidden_act": "hidden_activation",
        "hidden_dropout_prob": "mlp_dropout",
        "attention_probs_dropout_prob": "attention_dropout",
        "layer_norm_eps": "norm_eps",
    },
    embedding_names={
        "embeddings.tok_embeddings": "embeddings.word",
        "embeddings.norm": "embeddings.norm",
        "final_norm": "norm",
    },
    layer_path="layers.{}",
    layer_names={
        "attn_norm": "attention_norm",
        "attn.query": "attention.query",
        "attn.key": "attention.key",
        "attn.value": "attention.value",
        "attn.Wo": "attention.output",
        "mlp_norm": "ffn_norm",
        "mlp.inner": "ffn_in",
        "mlp.gate": "ffn_gate",
        "mlp.Wo": "ffn_out",
    },
    head_names={"head.dense": "head.dense", "head.norm": "head.norm", "classifier": "head.output"},
    masked_lm_names={"head.dense": "head.dense", "head.norm": "head.norm", "decoder": "head.output"},
    body_options={},
)
