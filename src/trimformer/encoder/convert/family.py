"""What a family of checkpoints is: how its configuration and the names of its weights map to the one encoder."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor
from transformers import PreTrainedConfig, PreTrainedModel

from ...errors import TrimformerError
from ..config import LayerShape, TrimformerConfig
from ..heads import (
    TrimformerForQuestionAnswering,
    TrimformerForTokenClassification,
    TrimformerWithHead,
)
from ..modeling import TrimformerModel

# Weight names that BERT-like families share: stock name without the family's prefix -> name in TrimformerModel.
BODY_NAMES = {
    "embeddings.word_embeddings": "embeddings.word",
    "embeddings.position_embeddings": "embeddings.position",
    "embeddings.token_type_embeddings": "embeddings.segment",
    "embeddings.LayerNorm": "embeddings.norm",
    "attention.self.query": "attention.query",
    "attention.self.key": "attention.key",
    "attention.self.value": "attention.value",
    "attention.output.dense": "attention.output",
    "attention.output.LayerNorm": "attention_norm",
    "intermediate.dense": "ffn_in",
    "output.dense": "ffn_out",
    "output.LayerNorm": "ffn_norm",
}
STOCK_NAMES = {ours: stock for stock, ours in BODY_NAMES.items()}
LAYER = re.compile(r"encoder\.layer\.(\d+)\.(.+)\.(\w+)")
OUR_LAYER = re.compile(r"layers\.(\d+)\.(.+)\.(\w+)")


@dataclasses.dataclass(frozen=True)
class Family:
    """One architecture of the transformers library.

    prefix: of the body's weights in a model with a head (``bert``). config: fields of TrimformerConfig that differ
    from the defaults. head_names: names of the classification head's weights, stock -> ours (``head.dense``,
    ``head.output``). body_class, head_classes: the stock model classes, the latter by ours.
    """

    name: str
    prefix: str
    config: Mapping[str, Any]
    head_names: Mapping[str, str]
    body_class: type[PreTrainedModel]
    head_classes: Mapping[type[TrimformerWithHead], type[PreTrainedModel]]

    def to_config(self, stock: PreTrainedConfig) -> TrimformerConfig:
        """The configuration of the same encoder; raises TrimformerError for variants that it cannot express."""
        if getattr(stock, "is_decoder", False) or getattr(stock, "add_cross_attention", False):
            raise TrimformerError("This checkpoint is a decoder: trimformer takes encoders only.")
        kind = getattr(stock, "position_embedding_type", "absolute") or "absolute"
        if kind != "absolute":
            raise TrimformerError(f"This checkpoint has {kind!r} positions: only absolute positions are supported.")
        shape = LayerShape(
            attention="full",
            heads=stock.num_attention_heads,
            head_size=stock.hidden_size // stock.num_attention_heads,
            ffn=stock.intermediate_size,
        )
        shared = {name: getattr(stock, name) for name in SHARED_FIELDS if hasattr(stock, name)}
        return TrimformerConfig(
            **shared,
            **self.config,
            family=self.name,
            id2label=stock.id2label,
            label2id=stock.label2id,
            layers=[dataclasses.asdict(shape)] * stock.num_hidden_layers,
        )

    def names_of(self, head: type[TrimformerWithHead] | None) -> Mapping[str, str]:
        """Names of a head's weights, stock -> ours; without a known head those of a classification head."""
        return HEAD_NAMES.get(head, self.head_names) if head is not None else self.head_names

    def to_ours(self, stock: Mapping[str, Tensor], head: type[TrimformerWithHead] | None = None) -> dict[str, Tensor]:
        """Weights under the names of a model with this head; weights of other heads are left out."""
        ours = {}
        names = self.names_of(head)
        for name, weight in stock.items():
            renamed = self._our_name(_modern(name), names)
            if renamed is not None:
                ours[renamed] = weight
        return ours

    def _our_name(self, name: str, head_names: Mapping[str, str]) -> str | None:
        module, _, leaf = name.rpartition(".")
        # A checkpoint of the bare body names its pooler without the prefix.
        for head_name in (module, f"{self.prefix}.{module}"):
            if head_name in head_names:
                return f"{head_names[head_name]}.{leaf}"
        body = name.removeprefix(f"{self.prefix}.")
        module = body.rpartition(".")[0]
        if module in BODY_NAMES:
            return f"encoder.{BODY_NAMES[module]}.{leaf}"
        if (match := LAYER.fullmatch(body)) and match[2] in BODY_NAMES:
            return f"encoder.layers.{match[1]}.{BODY_NAMES[match[2]]}.{match[3]}"
        return None

    def to_stock(self, model: TrimformerModel | TrimformerWithHead) -> PreTrainedModel:
        """The stock model with the same weights; the shape must be uniform and dense."""
        config = model.config
        shapes = set(config.shapes)
        if len(shapes) != 1 or (shape := shapes.pop()).attention != "full" or shape.width != config.hidden_size:
            raise TrimformerError(
                "Only an encoder whose layers are all equal and have full attention is a stock "
                f"{self.name} model; keep this one in the trimformer format (save_pretrained)."
            )
        has_head = isinstance(model, TrimformerWithHead)
        head: Any = type(model) if has_head else None
        cls: Any = self.head_classes[head] if has_head else self.body_class
        stock_config = cls.config_class(
            **{name: getattr(config, name) for name in SHARED_FIELDS},
            num_attention_heads=shape.heads,
            intermediate_size=shape.ffn,
            num_hidden_layers=config.num_hidden_layers,
            id2label=config.id2label,
            label2id=config.label2id,
        )
        stock = cls(stock_config) if has_head else cls(stock_config, add_pooling_layer=False)
        names = {ours: stock_name for stock_name, ours in self.names_of(head).items()}
        weights = {}
        for name, weight in model.state_dict().items():
            module, _, leaf = name.rpartition(".")
            body = module.removeprefix("encoder.")
            if module in names:
                weights[f"{names[module]}.{leaf}"] = weight
                continue
            match = OUR_LAYER.fullmatch(f"{body}.{leaf}")
            path = f"encoder.layer.{match[1]}.{STOCK_NAMES[match[2]]}" if match else STOCK_NAMES[body]
            weights[(f"{self.prefix}." if has_head else "") + f"{path}.{leaf}"] = weight
        stock.load_state_dict(weights)
        return stock.to(model.dtype).eval()


# The heads for tokens and spans have the same names in all families.
HEAD_NAMES: Mapping[type[TrimformerWithHead], Mapping[str, str]] = {
    TrimformerForTokenClassification: {"classifier": "head.output"},
    TrimformerForQuestionAnswering: {"qa_outputs": "head.output"},
}

SHARED_FIELDS = (
    "vocab_size",
    "hidden_size",
    "max_position_embeddings",
    "type_vocab_size",
    "pad_token_id",
    "hidden_act",
    "hidden_dropout_prob",
    "attention_probs_dropout_prob",
    "classifier_dropout",
    "layer_norm_eps",
    "initializer_range",
    "problem_type",
)


def _modern(name: str) -> str:
    """Checkpoints from TensorFlow days call LayerNorm's weight gamma and its bias beta."""
    return re.sub(r"\.gamma$", ".weight", re.sub(r"\.beta$", ".bias", name))
