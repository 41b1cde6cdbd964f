"""The one encoder, its shapes, gates and conversion. It knows no other room of the package."""

from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
)

from .gating.trim import trim
from .model.body import TrimformerModel
from .model.heads import (
    Kind,
    TrimformerForEmbedding,
    TrimformerForMaskedLM,
    TrimformerForQuestionAnswering,
    TrimformerForSequenceClassification,
    TrimformerForTokenClassification,
    TrimformerWithHead,
)
from .parts.baked import bake
from .shape.config import LayerShape, TrimformerConfig
from .shape.gates import Gates

AutoConfig.register("trimformer", TrimformerConfig)
AutoModel.register(TrimformerConfig, TrimformerModel)
AutoModelForSequenceClassification.register(TrimformerConfig, TrimformerForSequenceClassification)
AutoModelForTokenClassification.register(TrimformerConfig, TrimformerForTokenClassification)
AutoModelForQuestionAnswering.register(TrimformerConfig, TrimformerForQuestionAnswering)
AutoModelForMaskedLM.register(TrimformerConfig, TrimformerForMaskedLM)

__all__ = [
    "Gates",
    "Kind",
    "LayerShape",
    "TrimformerConfig",
    "TrimformerForEmbedding",
    "TrimformerForMaskedLM",
    "TrimformerForQuestionAnswering",
    "TrimformerForSequenceClassification",
    "TrimformerForTokenClassification",
    "TrimformerModel",
    "TrimformerWithHead",
    "bake",
    "trim",
]
