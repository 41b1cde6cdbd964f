"""BERT (Devlin et al., 2019)."""

from transformers import (
    BertForMaskedLM,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertForTokenClassification,
    BertModel,
)

from ...model.heads import (
    TrimformerForMaskedLM,
    TrimformerForQuestionAnswering,
    TrimformerForSequenceClassification,
    TrimformerForTokenClassification,
)
from .family import PREDICTIONS_NAMES, Family

BERT = Family(
    name="bert",
    prefix="bert",
    body_class=BertModel,
    head_classes={
        TrimformerForSequenceClassification: BertForSequenceClassification,
        TrimformerForTokenClassification: BertForTokenClassification,
        TrimformerForQuestionAnswering: BertForQuestionAnswering,
        TrimformerForMaskedLM: BertForMaskedLM,
    },
    # The pooler belongs to the body in a stock BERT; here it is the first layer of the classification head.
    head_names={"bert.pooler.dense": "head.dense", "classifier": "head.output"},
    masked_lm_names=PREDICTIONS_NAMES,
    masked_lm_bias="cls.predictions",
)
