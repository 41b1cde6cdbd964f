"""DeBERTa-v2 and v3 (He et al., 2021; 2023): BERT with disentangled attention.

The stock model sets embeddings of padding to zero. That is left out here: nothing that reads a real token sees it.
"""

from collections.abc import Iterator
from typing import Any

from transformers import (
    DebertaV2ForMaskedLM,
    DebertaV2ForQuestionAnswering,
    DebertaV2ForSequenceClassification,
    DebertaV2ForTokenClassification,
    DebertaV2Model,
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
from ...shape.config import TrimformerConfig
from .family import EMBEDDING_NAMES, LAYER_NAMES, PREDICTIONS_NAMES, Family

TERMS = ("c2p", "p2c")


class DebertaFamily(Family):
    def own_fields(self, stock: PreTrainedConfig) -> dict[str, Any]:
        if (getattr(stock, "conv_kernel_size", 0) or 0) > 0:
            raise TrimformerError(
                f"This checkpoint has a convolution (conv_kernel_size {stock.conv_kernel_size}): only DeBERTa without "
                "one is supported."
            )
        if getattr(stock, "embedding_size", stock.hidden_size) != stock.hidden_size:
            raise TrimformerError(
                f"This checkpoint has embeddings {stock.embedding_size} wide and layers {stock.hidden_size} wide: for "
                "DeBERTa only one width is supported."
            )
        terms = [term for term in TERMS if term in (stock.pos_att_type or ())]
        if terms and not stock.relative_attention:
            raise TrimformerError("This checkpoint has pos_att_type but no relative_attention: that is not supported.")
        own: dict[str, Any] = {
            "positions": "absolute" if stock.position_biased_input else "none",
            "classifier_act": stock.pooler_hidden_act,
            "pooler_dropout": stock.pooler_dropout,
        }
        if terms:
            own |= {
                "attention_positions": "disentangled",
                "relative_terms": terms,
                "relative_buckets": max(0, getattr(stock, "position_buckets", -1)),
                "relative_span": stock.max_relative_positions
                if stock.max_relative_positions > 0
                else stock.max_position_embeddings,
                "relative_shares_weights": getattr(stock, "share_att_key", False),
                "relative_norm": "layer_norm" in getattr(stock, "norm_rel_ebd", "none"),
            }
        return super().own_fields(stock) | own

    def own_stock_fields(self, config: TrimformerConfig) -> dict[str, Any]:
        return {
            "position_biased_input": config.positions == "absolute",
            "pooler_hidden_act": config.classifier_act,
            "pooler_dropout": config.pooler_dropout,
            "relative_attention": config.attention_positions == "disentangled",
            "pos_att_type": config.relative_terms,
            "position_buckets": config.relative_buckets or -1,
            "max_relative_positions": config.relative_span,
            "share_att_key": config.relative_shares_weights,
            "norm_rel_ebd": "layer_norm" if config.relative_norm else "none",
        }

    def names(self, config: TrimformerConfig, head: type[TrimformerWithHead] | None) -> Iterator[tuple[str, str]]:
        """Without the tables that a checkpoint may hold although its configuration says that they are not used."""
        unused = [
            *(["encoder.embeddings.position"] if config.positions == "none" else []),
            *(["encoder.embeddings.segment"] if not config.type_vocab_size else []),
            *(["encoder.positions.table", "encoder.positions.norm"] if config.attention_positions == "none" else []),
        ]
        return ((ours, stock) for ours, stock in super().names(config, head) if ours not in unused)


DEBERTA = DebertaFamily(
    name="deberta-v2",
    prefix="deberta",
    body_class=DebertaV2Model,
    head_classes={
        TrimformerForSequenceClassification: DebertaV2ForSequenceClassification,
        TrimformerForTokenClassification: DebertaV2ForTokenClassification,
        TrimformerForQuestionAnswering: DebertaV2ForQuestionAnswering,
        TrimformerForMaskedLM: DebertaV2ForMaskedLM,
    },
    renamed={"classifier_dropout": "cls_dropout"},
    embedding_names=EMBEDDING_NAMES
    | {"encoder.rel_embeddings": "positions.table", "encoder.LayerNorm": "positions.norm"},
    layer_names={
        stock.replace("query", "query_proj").replace("key", "key_proj").replace("value", "value_proj"): ours
        for stock, ours in LAYER_NAMES.items()
    }
    | {
        "attention.self.pos_key_proj": "attention.relative.key",
        "attention.self.pos_query_proj": "attention.relative.query",
    },
    head_names={"pooler.dense": "head.dense", "classifier": "head.output"},
    masked_lm_names=PREDICTIONS_NAMES
    | {
        # as the checkpoints of its authors have it
        "lm_predictions.lm_head.dense": "head.dense",
        "lm_predictions.lm_head.LayerNorm": "head.norm",
        "lm_predictions.lm_head": "head.output",
    },
    masked_lm_bias="cls.predictions",
    body_options={},
)
