"""Make Transformer encoders smaller and faster without losing accuracy, and prove it on your own data and machine.

Importing the package registers its models with transformers' Auto classes: at once where transformers is there, else
when it is imported. The functions below are the public API.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .errors import TrimformerError
from .extras import explained
from .registration import register_with_transformers

if TYPE_CHECKING:
    from .api import compress, compress_within, evaluate, study_positions
    from .deploy.export import export
    from .encoder import (
        Gates,
        LayerShape,
        TrimformerConfig,
        TrimformerForEmbedding,
        TrimformerForMaskedLM,
        TrimformerForQuestionAnswering,
        TrimformerForSequenceClassification,
        TrimformerForTokenClassification,
        TrimformerModel,
        bake,
        trim,
    )
    from .encoder.checkpoints.families import to_huggingface
    from .encoder.checkpoints.load import load
    from .explanation.explain import explain
    from .inference.predictor import Predictor
    from .measure.bench.latency import benchmark
    from .measure.cost import cost
    from .measure.device.pieces import latency_tables
    from .measure.profile.profile import profile
    from .recipe.reading import load_recipe
    from .recipe.settings import Recipe
    from .recipe.standard import standard_recipe
    from .tasks.settings import TaskSettings

__version__: str

# Imported when first used: who predicts from exported files has no PyTorch, and who loads a model must not pay for
# training, measuring or exporting.
_LAZY = {
    **dict.fromkeys(
        (
            "Gates",
            "LayerShape",
            "TrimformerConfig",
            "TrimformerForEmbedding",
            "TrimformerForMaskedLM",
            "TrimformerForQuestionAnswering",
            "TrimformerForSequenceClassification",
            "TrimformerForTokenClassification",
            "TrimformerModel",
            "bake",
            "trim",
        ),
        "encoder",
    ),
    "compress": "api",
    "compress_within": "api",
    "evaluate": "api",
    "study_positions": "api",
    "explain": "explanation.explain",
    "export": "deploy.export",
    "Predictor": "inference.predictor",
    "to_huggingface": "encoder.checkpoints.families",
    "load": "encoder.checkpoints.load",
    "cost": "measure.cost",
    "benchmark": "measure.bench.latency",
    "latency_tables": "measure.device.pieces",
    "profile": "measure.profile.profile",
    "Recipe": "recipe.settings",
    "load_recipe": "recipe.reading",
    "standard_recipe": "recipe.standard",
    "TaskSettings": "tasks.settings",
}

__all__ = [
    "Gates",
    "LayerShape",
    "Predictor",
    "Recipe",
    "TaskSettings",
    "TrimformerConfig",
    "TrimformerError",
    "TrimformerForEmbedding",
    "TrimformerForMaskedLM",
    "TrimformerForQuestionAnswering",
    "TrimformerForSequenceClassification",
    "TrimformerForTokenClassification",
    "TrimformerModel",
    "bake",
    "benchmark",
    "compress",
    "compress_within",
    "cost",
    "evaluate",
    "explain",
    "export",
    "latency_tables",
    "load",
    "load_recipe",
    "profile",
    "standard_recipe",
    "study_positions",
    "to_huggingface",
    "trim",
]


register_with_transformers()


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version  # which takes longer than all else here

        return version(__name__)
    if name not in _LAZY:
        raise AttributeError(f"module 'trimformer' has no attribute {name!r}")
    with explained(f"trimformer.{name}"):
        return getattr(import_module(f".{_LAZY[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
