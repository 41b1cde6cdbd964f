"""Methods decide structure. Each file registers its own under the name that recipes use."""

from .base import METHODS, Context, Method, MethodSettings

__all__ = ["METHODS", "Context", "Method", "MethodSettings"]
