"""What a stage can start from. Each file registers its own under the name that recipes use."""

from .base import STARTS, Origin, Origins, Start, StartSettings

__all__ = ["STARTS", "Origin", "Origins", "Start", "StartSettings"]
