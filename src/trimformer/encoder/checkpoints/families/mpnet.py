"""MPNet (Song et al., 2020): RoBERTa without segments, and with a bias by distance that all layers share."""

from typing import Any

from transformers import (
    MPNetForMaskedLM,
    MPNetForQuestionAnswering,
    MPNetForSequenceClassification,
    MPNetForTokenClassification,
    MPNetModel,
    PreTrainedConfig,
)

from ....errors import TrimformerError
from ...model.heads import (
    TrimformerForMaskedLM,
    TrimformerForQuestionAnswering,
    TrimformerForSequenceClassification,
    TrimformerForTokenClassification,
)
from .family import EMBEDDING_NAMES, LM_HEAD_NAMES, Family

BUCKETS = 32


class MPNetFamily(Family):
    def own_fields(self, stock: PreTrainedConfig) -> dict[str, Any]:
        if stock.relative_attention_num_buckets != BUCKETS:
            raise TrimformerError(
                f"This checkpoint has relative_attention_num_buckets {stock.relative_attention_num_buckets}: only "
                f"{BUCKETS} are supported, since the stock MPNet counts {BUCKETS} whatever its configuration says."
            )
        return super().own_fields(stock)


MPNET = MPNetFamily(
    name="mpnet",
    prefix="mpnet",
    body_class=MPNetModel,
    head_classes={
        TrimformerForSequenceClassification: MPNetForSequenceClassification,
        TrimformerForTokenClassification: MPNetForTokenClassification,
        TrimformerForQuestionAnswering: MPNetForQuestionAnswering,
        TrimformerForMaskedLM: MPNetForMaskedLM,
    },
    config={
        "positions": "from_padding",
        "type_vocab_size": 0,
        "attention_positions": "relative_bias",
        "relative_buckets": BUCKETS,
        "relative_span": 128,
    },
    embedding_names=EMBEDDING_NAMES | {"encoder.relative_attention_bias": "positions.table"},
    layer_names={
        "attention.attn.q": "attention.query",
        "attention.attn.k": "attention.key",
        "attention.attn.v": "attention.value",
        "attention.attn.o": "attention.output",
        "attention.LayerNorm": "attention_norm",
        "intermediate.dense": "ffn_in",
        "output.dense": "ffn_out",
        "output.LayerNorm": "ffn_norm",
    },
    head_names={"classifier.dense": "head.dense", "classifier.out_proj": "head.output"},
    masked_lm_names=LM_HEAD_NAMES,
    masked_lm_bias="lm_head",
    masked_lm_act="gelu",
)
