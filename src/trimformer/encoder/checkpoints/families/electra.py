"""ELECTRA (Clark et al., 2020): BERT with narrow embeddings in its small size, and a GELU in its head."""

from typing import Any

from transformers import (
    ElectraForMaskedLM,
    ElectraForQuestionAnswering,
    ElectraForSequenceClassification,
    ElectraForTokenClassification,
    ElectraModel,
    PreTrainedConfig,
)

from ...model.heads import (
    TrimformerForMaskedLM,
    TrimformerForQuestionAnswering,
    TrimformerForSequenceClassification,
    TrimformerForTokenClassification,
)
from ...shape.config import TrimformerConfig
from .family import EMBEDDING_NAMES, Family


class Electra(Family):
    """It projects the embeddings only where they are not as wide as the layers."""

    def own_fields(self, stock: PreTrainedConfig) -> dict[str, Any]:
        same = stock.embedding_size == stock.hidden_size
        return super().own_fields(stock) | {"embedding_size": None if same else stock.embedding_size}

    def own_stock_fields(self, config: TrimformerConfig) -> dict[str, Any]:
        return {"embedding_size": config.embedding_size or config.hidden_size}


ELECTRA = Electra(
    name="electra",
    prefix="electra",
    body_class=ElectraModel,
    head_classes={
        TrimformerForSequenceClassification: ElectraForSequenceClassification,
        TrimformerForTokenClassification: ElectraForTokenClassification,
        TrimformerForQuestionAnswering: ElectraForQuestionAnswering,
        TrimformerForMaskedLM: ElectraForMaskedLM,
    },
    config={"classifier_act": "gelu"},
    embedding_names=EMBEDDING_NAMES | {"embeddings_project": "embeddings.projection"},
    head_names={"classifier.dense": "head.dense", "classifier.out_proj": "head.output"},
    masked_lm_names={
        "generator_predictions.dense": "head.dense",
        "generator_predictions.LayerNorm": "head.norm",
        "generator_lm_head": "head.output",
    },
    masked_lm_act="gelu",
    body_options={},
)
