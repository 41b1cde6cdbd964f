"""CamemBERT (Martin et al., 2020): RoBERTa for French."""

from transformers import (
    CamembertForMaskedLM,
    CamembertForQuestionAnswering,
    CamembertForSequenceClassification,
    CamembertForTokenClassification,
    CamembertModel,
)

from ...model.heads import (
    TrimformerForMaskedLM,
    TrimformerForQuestionAnswering,
    TrimformerForSequenceClassification,
    TrimformerForTokenClassification,
)
from .family import LM_HEAD_NAMES, Family

CAMEMBERT = Family(
    name="camembert",
    prefix="roberta",
    body_class=CamembertModel,
    head_classes={
        TrimformerForSequenceClassification: CamembertForSequenceClassification,
        TrimformerForTokenClassification: CamembertForTokenClassification,
        TrimformerForQuestionAnswering: CamembertForQuestionAnswering,
        TrimformerForMaskedLM: CamembertForMaskedLM,
    },
    config={"positions": "from_padding"},
    head_names={"classifier.dense": "head.dense", "classifier.out_proj": "head.output"},
    masked_lm_names=LM_HEAD_NAMES,
    masked_lm_bias="lm_head",
    masked_lm_act="gelu",
)
