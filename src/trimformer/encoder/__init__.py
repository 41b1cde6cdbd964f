"""The one encoder, its shapes, gates and conversion. It knows no other room of the package."""

from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
)

from .config import LayerShape, TrimformerConfig
from .gates import Gates
from .heads import (
    Kind,
    TrimformerForQuestionAnswering,
    TrimformerForSequenceClassification,
    TrimformerForTokenClassification,
    TrimformerWithHead,
)
from .modeling import TrimformerModel
from .trim import trim

AutoConfig.register("trimformer", TrimformerConfig)
AutoModel.register(TrimformerConfig, TrimformerModel)
AutoModelForSequenceClassification.register(TrimformerConfig, TrimformerForSequenceClassification)
AutoModelForTokenClassification.register(TrimformerConfig, TrimformerForTokenClassification)
AutoModelForQuestionAnswering.register(TrimformerConfig, TrimformerForQuestionAnswering)

__all__ = [
    "Gates",
    "Kind",
    "LayerShape",
    "TrimformerConfig",
    "TrimformerForQuestionAnswering",
    "TrimformerForSequenceClassification",
    "TrimformerForTokenClassification",
    "TrimformerModel",
    "TrimformerWithHead",
    "trim",
]
