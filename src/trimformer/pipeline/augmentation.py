"""The augmented rows of a stage: the teacher labels them, so that a stage learns from them by comparing alone."""

from __future__ import annotations

import dataclasses

from ..encoder.model.heads import TrimformerWithHead
from ..tasks.augmentation import AUGMENTATIONS, AugmentationSettings, Reader
from ..tasks.augmentation.augment import augment
from ..tasks.augmentation.info import AugmentationInfo
from ..tasks.data import joined
from .inputs import Inputs


def augmented(
    settings: AugmentationSettings, inputs: Inputs, teacher: TrimformerWithHead
) -> tuple[Inputs, AugmentationInfo]:
    """The inputs with new rows, made of the training rows, among those without labels; and what was done."""
    reader = Reader(inputs.tokenizer, teacher.get_input_embeddings().weight.detach())
    given, held_out = inputs.train.examples, [inputs.selection.examples, inputs.validation.examples]
    new = augment(AUGMENTATIONS[settings.name](settings, reader), given, held_out)
    unlabelled = new.rows if inputs.unlabelled is None else joined([inputs.unlabelled, new.rows])
    return dataclasses.replace(inputs, unlabelled=unlabelled), new.info
