"""CamemBERT (Martin et al., 2020): RoBERTa for French."""

from transformers import (
    CamembertForQuestionAnswering,
    CamembertForSequenceClassification,
    CamembertForTokenClassification,
    CamembertModel,
)

from ...model.heads import (
    TrimformerForQuestionAnswering,
    TrimformerForSequenceClassification,
    TrimformerForTokenClassification,
)
from .family import Family

CAMEMBERT = Family(
    name="camembert",
    prefix="roberta",
    body_class=CamembertModel,
    head_classes={
        TrimformerForSequenceClassification: CamembertForSequenceClassification,
        TrimformerForTokenClassification: CamembertForTokenClassification,
        TrimformerForQuestionAnswering: CamembertForQuestionAnswering,
    },
    config={"positions": "from_padding"},
    head_names={"classifier.dense": "head.dense", "classifier.out_proj": "head.output"},
)
