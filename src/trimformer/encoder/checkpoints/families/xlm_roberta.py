"""XLM-RoBERTa (Conneau et al., 2020): RoBERTa in a hundred languages."""

from transformers import (
    XLMRobertaForQuestionAnswering,
    XLMRobertaForSequenceClassification,
    XLMRobertaForTokenClassification,
    XLMRobertaModel,
)

from ...model.heads import (
    TrimformerForQuestionAnswering,
    TrimformerForSequenceClassification,
    TrimformerForTokenClassification,
)
from .family import Family

XLM_ROBERTA = Family(
    name="xlm-roberta",
    prefix="roberta",
    body_class=XLMRobertaModel,
    head_classes={
        TrimformerForSequenceClassification: XLMRobertaForSequenceClassification,
        TrimformerForTokenClassification: XLMRobertaForTokenClassification,
        TrimformerForQuestionAnswering: XLMRobertaForQuestionAnswering,
    },
    config={"positions": "from_padding"},
    head_names={"classifier.dense": "head.dense", "classifier.out_proj": "head.output"},
)
