"""Methods decide structure. Each file registers its own under the name that recipes use."""

from . import controls, depth, faithful, finetune, greedy, hard_concrete, importance, layerdrop, layerwise
from .base import METHODS, Context, Method, MethodSettings

__all__ = [
    "METHODS",
    "Context",
    "Method",
    "MethodSettings",
    "controls",
    "depth",
    "faithful",
    "finetune",
    "greedy",
    "hard_concrete",
    "importance",
    "layerdrop",
    "layerwise",
]
