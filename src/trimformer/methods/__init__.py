"""Methods make encoders smaller. Each file registers its own under the name that recipes use."""

from .base import METHODS, Context, Method, MethodSettings
from .result import Result

__all__ = ["METHODS", "Context", "Method", "MethodSettings", "Result"]
