"""RoBERTa (Liu et al., 2019): BERT with positions counted from the padding id and a head of its own."""

from transformers import (
    RobertaForQuestionAnswering,
    RobertaForSequenceClassification,
    RobertaForTokenClassification,
    RobertaModel,
)

from ...model.heads import (
    TrimformerForQuestionAnswering,
    TrimformerForSequenceClassification,
    TrimformerForTokenClassification,
)
from .family import Family

ROBERTA = Family(
    name="roberta",
    prefix="roberta",
    body_class=RobertaModel,
    head_classes={
        TrimformerForSequenceClassification: RobertaForSequenceClassification,
        TrimformerForTokenClassification: RobertaForTokenClassification,
        TrimformerForQuestionAnswering: RobertaForQuestionAnswering,
    },
    config={"positions": "from_padding"},
    head_names={"classifier.dense": "head.dense", "classifier.out_proj": "head.output"},
)
