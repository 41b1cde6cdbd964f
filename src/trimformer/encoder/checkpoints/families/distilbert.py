"""DistilBERT (Sanh et al., 2019): BERT without segments and pooler, its modules under other names."""

from transformers import (
    DistilBertForMaskedLM,
    DistilBertForQuestionAnswering,
    DistilBertForSequenceClassification,
    DistilBertForTokenClassification,
    DistilBertModel,
)

from ...model.heads import (
    TrimformerForMaskedLM,
    TrimformerForQuestionAnswering,
    TrimformerForSequenceClassification,
    TrimformerForTokenClassification,
)
from .family import Family

DISTILBERT = Family(
    name="distilbert",
    prefix="distilbert",
    body_class=DistilBertModel,
    head_classes={
        TrimformerForSequenceClassification: DistilBertForSequenceClassification,
        TrimformerForTokenClassification: DistilBertForTokenClassification,
        TrimformerForQuestionAnswering: DistilBertForQuestionAnswering,
        TrimformerForMaskedLM: DistilBertForMaskedLM,
    },
    config={"type_vocab_size": 0, "classifier_act": "relu"},
    renamed={
        "intermediate_size": "hidden_dim",
        "hidden_act": "activation",
        "hidden_dropout_prob": "dropout",
        "attention_probs_dropout_prob": "attention_dropout",
        "classifier_dropout": "seq_classif_dropout",
    },
    layer_path="transformer.layer.{}",
    layer_names={
        "attention.q_lin": "attention.query",
        "attention.k_lin": "attention.key",
        "attention.v_lin": "attention.value",
        "attention.out_lin": "attention.output",
        "sa_layer_norm": "attention_norm",
        "ffn.lin1": "ffn_in",
        "ffn.lin2": "ffn_out",
        "output_layer_norm": "ffn_norm",
    },
    head_names={"pre_classifier": "head.dense", "classifier": "head.output"},
    masked_lm_names={
        "vocab_transform": "head.dense",
        "vocab_layer_norm": "head.norm",
        "vocab_projector": "head.output",
    },
    body_options={},
)
