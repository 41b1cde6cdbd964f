"""What a family of checkpoints is: how its configuration and the names of its weights map to the one encoder."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedConfig, PreTrainedModel

from ....errors import TrimformerError
from ...model.body import TrimformerModel
from ...model.heads import (
    TrimformerForEmbedding,
    TrimformerForMaskedLM,
    TrimformerForQuestionAnswering,
    TrimformerForTokenClassification,
    TrimformerWithHead,
)
from ...shape.config import LayerShape, TrimformerConfig

# Names of the modules with weights that most families share: stock name -> ours.
EMBEDDING_NAMES = {
    "embeddings.word_embeddings": "embeddings.word",
    "embeddings.position_embeddings": "embeddings.position",
    "embeddings.token_type_embeddings": "embeddings.segment",
    "embeddings.LayerNorm": "embeddings.norm",
}
LAYER_NAMES = {
    "attention.self.query": "attention.query",
    "attention.self.key": "attention.key",
    "attention.self.value": "attention.value",
    "attention.output.dense": "attention.output",
    "attention.output.LayerNorm": "attention_norm",
    "intermediate.dense": "ffn_in",
    "output.dense": "ffn_out",
    "output.LayerNorm": "ffn_norm",
}
# The heads for tokens and spans have the same names in all families.
HEAD_NAMES: Mapping[type[TrimformerWithHead], Mapping[str, str]] = {
    TrimformerForTokenClassification: {"classifier": "head.output"},
    TrimformerForQuestionAnswering: {"qa_outputs": "head.output"},
}
# Those of BERT for masked tokens, which DeBERTa has too.
PREDICTIONS_NAMES = {
    "cls.predictions.transform.dense": "head.dense",
    "cls.predictions.transform.LayerNorm": "head.norm",
    "cls.predictions.decoder": "head.output",
}
# Those of RoBERTa and its kin for masked tokens.
LM_HEAD_NAMES = {
    "lm_head.dense": "head.dense",
    "lm_head.layer_norm": "head.norm",
    "lm_head.decoder": "head.output",
}
# Fields of TrimformerConfig that a stock configuration has too.
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


@dataclasses.dataclass(frozen=True, kw_only=True)
class Family:
    """One architecture of the transformers library.

    name: its model type. prefix: of the body's weights in a model with a head (``bert``). body_class, head_classes:
    the stock model classes, the latter by ours.
    config: fields of TrimformerConfig that are the same for all its checkpoints. renamed: attributes of its
    configuration that have names of their own, ours -> stock.
    embedding_names, layer_names: names of modules with weights, stock -> ours, below the body and below a layer.
    layer_path: where a layer lies in the body; ``{}`` stands for its number.
    head_names: names of the classification head's modules, stock -> ours (``head.dense``, ``head.output``).
    masked_lm_names: the same of the masked-LM head; those of several layouts, that of the stock class first.
    masked_lm_bias: the module that keeps the bias of its last map, beside the map itself. masked_lm_act: its
    activation, where that is not the encoder's.
    body_options: arguments that make a body without a pooler.
    """

    name: str
    prefix: str
    body_class: type[PreTrainedModel]
    head_classes: Mapping[type[TrimformerWithHead], type[PreTrainedModel]]
    config: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    renamed: Mapping[str, str] = dataclasses.field(default_factory=dict)
    embedding_names: Mapping[str, str] = dataclasses.field(default_factory=lambda: EMBEDDING_NAMES)
    layer_names: Mapping[str, str] = dataclasses.field(default_factory=lambda: LAYER_NAMES)
    layer_path: str = "encoder.layer.{}"
    head_names: Mapping[str, str]
    masked_lm_names: Mapping[str, str]
    masked_lm_bias: str | None = None
    masked_lm_act: str | None = None
    body_options: Mapping[str, Any] = dataclasses.field(default_factory=lambda: {"add_pooling_layer": False})

    def to_config(self, stock: PreTrainedConfig) -> TrimformerConfig:
        """The configuration of the same encoder; raises TrimformerError for variants that it cannot express."""
        if getattr(stock, "is_decoder", False) or getattr(stock, "add_cross_attention", False):
            raise TrimformerError("This checkpoint is a decoder: trimformer takes encoders only.")
        kind = getattr(stock, "position_embedding_type", "absolute") or "absolute"
        if kind != "absolute" and self.config.get("attention_positions") != "rotary":  # rotary ones are not named here
            raise TrimformerError(f"This checkpoint has {kind!r} positions: only absolute positions are supported.")
        shape = LayerShape(
            attention="full",
            heads=stock.num_attention_heads,
            head_size=stock.hidden_size // stock.num_attention_heads,
            ffn=getattr(stock, self.stock_field("intermediate_size")),
        )
        shared = {name: self.stock_field(name) for name in SHARED_FIELDS}
        fields = {name: getattr(stock, theirs) for name, theirs in shared.items() if hasattr(stock, theirs)}
        fields |= {
            "family": self.name,
            "id2label": stock.id2label,
            "label2id": stock.label2id,
            "layers": [dataclasses.asdict(shape)] * stock.num_hidden_layers,
        }
        return TrimformerConfig(**fields | self.own_fields(stock))

    def stock_field(self, name: str) -> str:
        """The name that the stock configuration has for a field."""
        return self.renamed.get(name, name)

    def own_fields(self, stock: PreTrainedConfig) -> dict[str, Any]:
        """Fields of our configuration in which this family differs from the others."""
        return dict(self.config)

    def own_stock_fields(self, config: TrimformerConfig) -> dict[str, Any]:
        """Fields of the stock configuration that only this family has."""
        return {}

    def plain(self, shape: LayerShape) -> LayerShape:
        """The shape without what may differ between the layers of this family."""
        return shape

    def unpack(self, weights: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Weights of the stock model, those split that are several of ours in one."""
        return weights

    def pack(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """The way back from :meth:`unpack`."""
        return weights

    def names_of_head(self, head: type[TrimformerWithHead] | None) -> Mapping[str, str]:
        """Stock -> our names of a head's modules; without a known head those of a classification head."""
        if head is TrimformerForMaskedLM:
            return self.masked_lm_names
        return self.head_names if head is None else HEAD_NAMES.get(head, self.head_names)

    def stock_layer(self, config: TrimformerConfig, index: int) -> int:
        """The number under which the stock model keeps the weights of a layer."""
        return index

    def names(self, config: TrimformerConfig, head: type[TrimformerWithHead] | None) -> Iterator[tuple[str, str]]:
        """(ours, stock) names of all modules with weights; without a known head with those of a classification head."""
        for stock, ours in self.embedding_names.items():
            yield f"encoder.{ours}", f"{self.prefix}.{stock}"
        for index in range(config.num_hidden_layers):
            path = f"{self.prefix}.{self.layer_path.format(self.stock_layer(config, index))}"
            for stock, ours in self.layer_names.items():
                yield f"encoder.layers.{index}.{ours}", f"{path}.{stock}"
        yield from ((ours, stock) for stock, ours in self.names_of_head(head).items())

    def to_ours(
        self, stock: Mapping[str, Tensor], config: TrimformerConfig, head: type[TrimformerWithHead] | None = None
    ) -> dict[str, Tensor]:
        """Weights under the names of a model with this head; weights of other heads are left out.

        A weight of a layer that does not exist keeps its stock name below ``encoder``, where it fits nothing.
        """
        known = self._known(config, head)
        in_layers = f"{self.prefix}.{self.layer_path.partition('{')[0]}"
        ours = {}
        for name, weight in self.unpack(stock).items():
            full, leaf = self._full(name, known)
            if full in known:
                ours[f"{known[full]}.{leaf}"] = weight
            elif full.startswith(in_layers):
                ours[f"encoder.{name}"] = weight
        return ours

    def masked_lm(self, stock: Mapping[str, Tensor], config: TrimformerConfig) -> dict[str, Tensor]:
        """Weights of the masked-LM head that pre-training left, under our names, without the word table.

        Empty where there is none, or none of this form: with a table of its own, or another activation.
        """
        found = self.to_ours(stock, config, TrimformerForMaskedLM)
        head = {name: weight for name, weight in found.items() if name.startswith("head.")}
        own, table = head.pop("head.output.weight", None), found.get("encoder.embeddings.word.weight")
        dense = head.get("head.dense.weight")
        if (
            table is None
            or dense is None
            or "head.norm.weight" not in head
            or dense.shape != (table.shape[1], config.hidden_size)
            or self.masked_lm_act not in (None, config.hidden_act)
            or (own is not None and not torch.equal(own, table))
        ):
            return {}
        head.setdefault("head.output.bias", torch.zeros(len(table), dtype=table.dtype))
        return head

    def unused(
        self, stock: Mapping[str, Tensor], config: TrimformerConfig, head: type[TrimformerWithHead] | None
    ) -> list[str]:
        """Names of weights that :meth:`to_ours` leaves out and that pre-training did not leave behind."""
        known = self._known(config, head)
        return [
            name
            for name in self.unpack(stock)
            if self._full(name, known)[0] not in known and not _LEFT_BEHIND.search(name)
        ]

    def _known(self, config: TrimformerConfig, head: type[TrimformerWithHead] | None) -> dict[str, str]:
        """Our names by stock names; of weights that layers share, the first one."""
        known: dict[str, str] = {}
        for our_name, stock_name in self.names(config, head):
            known.setdefault(stock_name, our_name)
        if head is TrimformerForMaskedLM and self.masked_lm_bias is not None:
            known[self.masked_lm_bias] = "head.output"
        return known

    def _full(self, name: str, known: Mapping[str, str]) -> tuple[str, str]:
        """Module and leaf of a weight; a checkpoint of the bare body has names without the prefix."""
        module, _, leaf = _modern(name).rpartition(".")
        full = module if module in known else f"{self.prefix}.{module.removeprefix(f'{self.prefix}.')}"
        return full, leaf

    def to_stock(self, model: TrimformerModel | TrimformerWithHead) -> PreTrainedModel:
        """The stock model with the same weights, of an embedding model its encoder; layers must be dense and alike."""
        model = model.encoder if isinstance(model, TrimformerForEmbedding) else model
        config = model.config
        if config.positions == "by_segment":
            raise TrimformerError(
                f"No stock {self.name} model numbers the tokens of each text of a pair by itself: keep this one in the "
                "trimformer format (save_pretrained)."
            )
        shapes = {self.plain(shape) for shape in config.shapes}
        shape = shapes.pop() if len(shapes) == 1 else None
        if (
            shape is None
            or shape.own
            or shape
            != dataclasses.replace(shape, attention="full", window=None, query_key=None, inputs=None, tokens=None)
            or (shape.width, config.classifier_size) != (config.hidden_size, None)
            or not shape.ffn
        ):
            raise TrimformerError(
                "Only an encoder whose layers are all equal and have full attention is a stock "
                f"{self.name} model; keep this one in the trimformer format (save_pretrained)."
            )
        if config.embedding_size is not None and "embedding_size" not in self.own_stock_fields(config):
            raise TrimformerError(
                f"The embedding tables of this encoder have a map behind them, which a stock {self.name} model does "
                "not have: keep it in the trimformer format (save_pretrained)."
            )
        has_head = isinstance(model, TrimformerWithHead)
        if isinstance(model, TrimformerForMaskedLM) and self.masked_lm_act not in (None, config.hidden_act):
            raise TrimformerError(
                f"A stock {self.name} masked-LM head has the activation {self.masked_lm_act}, not {config.hidden_act}: "
                "keep this model in the trimformer format (save_pretrained)."
            )
        if has_head and config.exits is not None:
            raise TrimformerError(
                f"A stock {self.name} model has no exits: keep this one in the trimformer format (save_pretrained)."
            )
        head: Any = type(model) if has_head else None
        cls: Any = self.head_classes[head] if has_head else self.body_class
        fields = {name: getattr(config, name) for name in SHARED_FIELDS}
        if config.classifier_dropout is None:
            del fields["classifier_dropout"]  # the rate of the stock class
        fields |= {
            "num_attention_heads": shape.heads,
            "intermediate_size": shape.ffn,
            "num_hidden_layers": config.num_hidden_layers,
            "id2label": config.id2label,
            "label2id": config.label2id,
        }
        fields = {self.stock_field(name): value for name, value in fields.items()}
        stock_config = cls.config_class(**fields | self.own_stock_fields(config))
        stock = cls(stock_config) if has_head else cls(stock_config, **self.body_options)
        names: dict[str, str] = {}
        for ours, theirs in self.names(config, head):
            names.setdefault(ours, theirs)
        weights = {}
        for name, weight in model.state_dict().items():
            module, _, leaf = name.rpartition(".")
            if has_head:
                weights[f"{names[module]}.{leaf}"] = weight
            else:
                weights[f"{names[f'encoder.{module}']}.{leaf}".removeprefix(f"{self.prefix}.")] = weight
        if head is TrimformerForMaskedLM and self.masked_lm_bias is not None:
            weights[f"{self.masked_lm_bias}.bias"] = model.state_dict()["head.output.bias"]
        stock.load_state_dict(self.pack(weights))
        return stock.to(model.dtype).eval()


# Heads of pre-training, poolers that no head here reads, and tables that are computed.
_LEFT_BEHIND = re.compile(
    r"^(cls|lm_head|mlm|predictions|sop_classifier|vocab_\w+|generator_\w+|discriminator_predictions|decoder"
    r"|lm_predictions|mask_predictions|(\w+\.)?pooler|head)\.|position_ids$|inv_freq$"
)


def _modern(name: str) -> str:
    """Checkpoints from TensorFlow days call LayerNorm's weight gamma and its bias beta."""
    return re.sub(r"\.gamma$", ".weight", re.sub(r"\.beta$", ".bias", name))
