"""What a start is: a model for a stage, whose shape is known before any training. One file per start."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from ..encoder.checkpoints.load import Checkpoint, load_tokenizer, load_with_head
from ..encoder.model.heads import TrimformerWithHead
from ..encoder.shape.config import TrimformerConfig
from ..encoder.shape.gates import Gates
from ..registry import Registry
from ..tasks.data import Task


class StartSettings(BaseModel):
    """Settings of a start: each adds ``name``, a literal with the name of its start, and its own fields."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    name: Any

    @property
    def label(self) -> str:
        """What the report's head says of it; empty where it is nothing new."""
        return ""

    @property
    def student(self) -> str:
        """What its model is called where it is no part of the dense one; empty where it is one."""
        return ""


@dataclasses.dataclass(frozen=True)
class Origin:
    """A model of the run.

    config: its shape; before it was trained, as far as that is known. own_tokenizer: whether it reads texts with
    another tokenizer than the run's checkpoint. folder: where it is saved; None: it is not there yet. found: the gates
    by which its stage cut; None: that stage hands on none.
    """

    config: TrimformerConfig
    own_tokenizer: bool = False
    folder: Path | None = None
    found: Gates | None = None

    def model(self) -> TrimformerWithHead:
        """Load it; raises TrimformerError where it cannot be read."""
        return load_with_head(self._saved())

    def tokenizer(self) -> PreTrainedTokenizerBase | None:
        """Its own; None: that of the run's checkpoint."""
        return load_tokenizer(self._saved()) if self.own_tokenizer else None

    def _saved(self) -> Path:
        assert self.folder is not None, "it is not there yet"
        return self.folder


@dataclasses.dataclass(frozen=True)
class Origins:
    """What there is to start from when a stage begins.

    checkpoint, tokenizer: what the run was given. has_trained_head: whether the head of the checkpoint was trained for
    these labels. dense: the fine-tuned model. previous: what the stage before leaves.
    """

    checkpoint: Checkpoint
    tokenizer: PreTrainedTokenizerBase
    has_trained_head: bool
    task: Task
    dense: Origin
    previous: Origin


class Start(ABC):
    """A model for a stage to start from. Its configuration is asked for before any training, its weights after it."""

    name: ClassVar[str]
    Settings: ClassVar[type[StartSettings]]
    is_student: ClassVar[bool] = False
    """Whether its name alone says which student it is, so that `compress --student` takes it."""

    def __init__(self, settings: Any, origins: Origins) -> None:
        self.settings, self.origins = settings, origins

    @property
    @abstractmethod
    def config(self) -> TrimformerConfig:
        """The shape of the model; raises TrimformerError where the settings do not fit."""

    @property
    def own_tokenizer(self) -> bool:
        """Whether it reads texts with another tokenizer than the run's checkpoint."""
        return False

    @property
    def new_head(self) -> bool:
        """Whether the head starts with random weights, which answer in no unit."""
        return False

    @abstractmethod
    def model(self) -> TrimformerWithHead:
        """The model with a head for the task, in evaluation mode."""

    def tokenizer(self) -> PreTrainedTokenizerBase | None:
        """Its own; None: that of the run's checkpoint."""
        return None

    def weights(self) -> Mapping[str, Tensor]:
        """Those that it reads from files of its own, which must still be the same when the run is resumed."""
        return {}


STARTS: Registry[type[Start]] = Registry("start", "trimformer.starts", "trimformer.starts")
S = TypeVar("S", bound=type[Start])


def register(start: S) -> S:
    """Class decorator: make a start known under its name."""
    STARTS.add(start.name)(start)
    return start
