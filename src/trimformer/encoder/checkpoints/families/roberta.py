"""RoBERTa (Liu et al., 2019): BERT with positions counted from the padding id and a head of its own."""

from transformers import (
    RobertaForMaskedLM,
    RobertaForQuestionAnswering,
    RobertaForSequenceClassification,
    RobertaForTokenClassification,
    RobertaModel,
)

from ...model.heads import (
    TrimformerForMaskedLM,
    TrimformerForQuestionAnswering,
    TrimformerForSequenceClassification,
    TrimformerForTokenClassification,
)
from .family import LM_HEAD_NAMES, Family

ROBERTA = Family(
    name="roberta",
    prefix="roberta",
    body_class=RobertaModel,
    head_classes={
        TrimformerForSequenceClassification: RobertaForSequenceClassification,
        TrimformerForTokenClassification: RobertaForTokenClassification,
        TrimformerForQuestionAnswering: RobertaForQuestionAnswering,
        TrimformerForMaskedLM: RobertaForMaskedLM,
    },
    config={"positions": "from_padding"},
    head_names={"classifier.dense": "head.dense", "classifier.out_proj": "head.output"},
    masked_lm_names=LM_HEAD_NAMES,
    masked_lm_bias="lm_head",
    masked_lm_act="gelu",
)
