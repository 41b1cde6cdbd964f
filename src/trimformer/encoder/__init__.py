"""The one encoder, its shapes, gates and conversion. It knows no other room of the package."""

from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification

from .config import LayerShape, TrimformerConfig
from .gates import Gates
from .modeling import TrimformerForSequenceClassification, TrimformerModel
from .trim import trim

AutoConfig.register("trimformer", TrimformerConfig)
AutoModel.register(TrimformerConfig, TrimformerModel)
AutoModelForSequenceClassification.register(TrimformerConfig, TrimformerForSequenceClassification)

__all__ = [
    "Gates",
    "LayerShape",
    "TrimformerConfig",
    "TrimformerForSequenceClassification",
    "TrimformerModel",
    "trim",
]
