"""The augmented rows of a stage: the teacher labels them, so that a stage learns from them by comparing alone."""

from __future__ import annotations

import dataclasses

from ..encoder.model.heads import TrimformerWithHead
from ..tasks.augmentation import AUGMENTATIONS, AugmentationSettings, Reader
from ..tasks.augmentation.augment import augment
from ..tasks.augmentation.info import AugmentationInfo
from .inputs import Inputs


def augmented(
    settings: AugmentationSettings, inputs: Inputs, teacher: TrimformerWithHead
) -> tuple[Inputs, AugmentationInfo]:
    """The inputs with the new rows behind the training rows, and what was done.

    The new rows have the labels of the rows that they were made of, which nothing reads.
    """
    reader = Reader(inputs.tokenizer, teacher.get_input_embeddings().weight.detach())
    given, held_out = inputs.train.examples, [inputs.selection.examples, inputs.validation.examples]
    new = augment(AUGMENTATIONS[settings.name](settings, reader), given, held_out)
    whole = given.take([*range(len(given)), *new.origins])
    pairs = None if given.pairs is None else [*given.pairs, *(new.rows.pairs or [])]
    rows = dataclasses.replace(whole, texts=[*given.texts, *new.rows.texts], pairs=pairs)
    return dataclasses.replace(inputs, train=inputs.encoded(rows)), new.info
