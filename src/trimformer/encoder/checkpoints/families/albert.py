"""ALBERT (Lan et al., 2020): BERT with narrow embeddings, whose layers all, or in groups, share one set of weights."""

from typing import Any

from transformers import (
    AlbertForMaskedLM,
    AlbertForQuestionAnswering,
    AlbertForSequenceClassification,
    AlbertForTokenClassification,
    AlbertModel,
    PreTrainedConfig,
)

from ....errors import TrimformerError
from ...model.heads import (
    TrimformerForMaskedLM,
    TrimformerForQuestionAnswering,
    TrimformerForSequenceClassification,
    TrimformerForTokenClassification,
)
from ...shape.config import TrimformerConfig
from .family import EMBEDDING_NAMES, Family


class Albert(Family):
    """The stock model keeps the weights by group, not by layer."""

    def own_fields(self, stock: PreTrainedConfig) -> dict[str, Any]:
        if stock.inner_group_num != 1:
            raise TrimformerError(
                f"This checkpoint has inner_group_num {stock.inner_group_num}: only groups of one layer "
                "(inner_group_num 1) are supported."
            )
        layers = stock.num_hidden_layers
        groups = [int(index / (layers / stock.num_hidden_groups)) for index in range(layers)]
        sharing = [groups.index(group) for group in groups]
        return super().own_fields(stock) | {"embedding_size": stock.embedding_size, "sharing": sharing}

    def own_stock_fields(self, config: TrimformerConfig) -> dict[str, Any]:
        return {"embedding_size": config.embedding_size, "num_hidden_groups": len(set(config.sharing or ()))}

    def stock_layer(self, config: TrimformerConfig, index: int) -> int:
        sharing = config.sharing or []
        return sorted(set(sharing)).index(sharing[index])


ALBERT = Albert(
    name="albert",
    prefix="albert",
    body_class=AlbertModel,
    head_classes={
        TrimformerForSequenceClassification: AlbertForSequenceClassification,
        TrimformerForTokenClassification: AlbertForTokenClassification,
        TrimformerForQuestionAnswering: AlbertForQuestionAnswering,
        TrimformerForMaskedLM: AlbertForMaskedLM,
    },
    renamed={"classifier_dropout": "classifier_dropout_prob"},
    embedding_names=EMBEDDING_NAMES | {"encoder.embedding_hidden_mapping_in": "embeddings.projection"},
    layer_path="encoder.albert_layer_groups.{}.albert_layers.0",
    layer_names={
        "attention.query": "attention.query",
        "attention.key": "attention.key",
        "attention.value": "attention.value",
        "attention.dense": "attention.output",
        "attention.LayerNorm": "attention_norm",
        "ffn": "ffn_in",
        "ffn_output": "ffn_out",
        "full_layer_layer_norm": "ffn_norm",
    },
    head_names={"albert.pooler": "head.dense", "classifier": "head.output"},
    masked_lm_names={
        "predictions.dense": "head.dense",
        "predictions.LayerNorm": "head.norm",
        "predictions.decoder": "head.output",
    },
    masked_lm_bias="predictions",
)
