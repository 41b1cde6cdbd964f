"""New training rows made of those that there are: one file for each way, and one for each source of words."""

from .base import AUGMENTATIONS, Augmentation, AugmentationSettings, Reader

__all__ = ["AUGMENTATIONS", "Augmentation", "AugmentationSettings", "Reader"]
