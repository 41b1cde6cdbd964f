"""XLM-RoBERTa (Conneau et al., 2020): RoBERTa in a hundred languages."""

from transformers import (
    XLMRobertaForMaskedLM,
    XLMRobertaForQuestionAnswering,
    XLMRobertaForSequenceClassification,
    XLMRobertaForTokenClassification,
    XLMRobertaModel,
)

from ...model.heads import (
    TrimformerForMaskedLM,
    TrimformerForQuestionAnswering,
    TrimformerForSequenceClassification,
    TrimformerForTokenClassification,
)
from .family import LM_HEAD_NAMES, Family

XLM_ROBERTA = Family(
    name="xlm-roberta",
    prefix="roberta",
    body_class=XLMRobertaModel,
    head_classes={
        TrimformerForSequenceClassification: XLMRobertaForSequenceClassification,
        TrimformerForTokenClassification: XLMRobertaForTokenClassification,
        TrimformerForQuestionAnswering: XLMRobertaForQuestionAnswering,
        TrimformerForMaskedLM: XLMRobertaForMaskedLM,
    },
    config={"positions": "from_padding"},
    head_names={"classifier.dense": "head.dense", "classifier.out_proj": "head.output"},
    masked_lm_names=LM_HEAD_NAMES,
    masked_lm_bias="lm_head",
    masked_lm_act="gelu",
)
