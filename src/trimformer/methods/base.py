"""What a method is: it decides structure. One file per method; each registers itself under its name."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import torch
from accelerate import Accelerator
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from ..encoder.model.heads import TrimformerWithHead
from ..encoder.shape.config import StandIn, TrimformerConfig, lesser
from ..encoder.shape.gates import Gates
from ..errors import TrimformerError
from ..registry import Registry
from ..tasks.batches import bucketed_batches, drawn_rows
from ..tasks.data import Task
from ..tasks.encode import Encoded
from ..training.clock import Clock
from ..training.matching import Matching, match_layers
from ..training.network import Network
from ..training.objective import Objective
from ..training.projection import Projected
from ..training.settings import ObjectiveSettings, TrainingSettings
from ..training.teacher_cache import TeacherCache, parts_of


class MethodSettings(BaseModel):
    """Settings of a method: each adds ``name``, a literal with the name of its method, and its own fields."""

    model_config = ConfigDict(extra="forbid")

    name: Any


class KeepSettings(MethodSettings):
    """How many layers keep their attention, and what becomes of the others."""

    keep_layers: int = Field(ge=0, description="attention layers that stay")
    replace_by: StandIn = Field("mean", description="what a layer that loses its attention becomes")


@dataclasses.dataclass(frozen=True)
class Context:
    """What a stage hands to its method.

    model: the weights to start from. teacher: the dense fine-tuned model, where the objective distils.
    train: what weights are trained on. selection: held out from train, what structure is chosen on.
    steps: optimiser steps of the stage. folder: of the run, for what its stages keep on disk.
    """

    model: TrimformerWithHead
    teacher: TrimformerWithHead | None
    task: Task
    train: Encoded
    selection: Encoded
    training: TrainingSettings
    objective: ObjectiveSettings
    accelerator: Accelerator
    seed: int
    steps: int
    folder: Path | None = None

    def network(self, name: str, module: torch.nn.Module, **options: Any) -> Network:
        """Prepare a module for training under this stage's settings."""
        return Network(name, module, self.accelerator, self.training, self.steps, **options)

    def sample(self, data: Encoded, rows: int) -> Iterator[dict[str, Tensor]]:
        """Batches on the device: so many rows of a split, drawn with the seed; all where there are fewer."""
        chosen = drawn_rows(len(data), rows, self.seed)
        for indices in bucketed_batches(data.lengths[chosen], self.training.batch_size, 0, 0, shuffle=False):
            batch = data.batch(chosen[indices].tolist())
            yield {name: value.to(self.accelerator.device) for name, value in batch.items()}

    def student(self, name: str, model: TrimformerWithHead) -> Network:
        """Prepare an encoder for training under this stage's objective.

        With it a projection is trained where hidden states are compared that are not as wide as the teacher's.
        """
        module: torch.nn.Module = model.train()
        if self.objective.reads_states and self.teacher is not None:
            width, wanted = model.config.hidden_size, self.teacher.config.hidden_size
            module = module if width == wanted else Projected(model, width, wanted)
        return self.network(name, module)

    def make_objective(self) -> Objective:
        """The stage's objective, with the teacher in evaluation mode on the right device."""
        if not self.objective.needs_teacher:
            return Objective(self.objective, self.task.kind)
        if self.teacher is None:
            raise TrimformerError("This stage distils, but there is no dense model to learn from.")
        matching = match_layers(self.objective, self.model.config, self.teacher.config)
        teacher = self.accelerator.prepare_model(self.teacher.eval(), evaluation_mode=True)
        if self.objective.cache:
            teacher = self._cached(self.teacher, teacher, matching)
        return Objective(self.objective, self.task.kind, teacher, matching)

    def _cached(self, teacher: TrimformerWithHead, forward: Any, matching: Matching) -> TeacherCache:
        assert self.folder is not None, "a cache needs a folder"
        parts, precision = parts_of(self.objective, matching, teacher.config), self.accelerator.mixed_precision
        with self.accelerator.main_process_first():
            return TeacherCache(teacher, forward, self.train, parts, self.folder, precision=precision)


@dataclasses.dataclass
class History:
    """What the report draws: (step, keep probability of each layer) and (step, reward)."""

    keep_probability: list[tuple[int, list[float]]] = dataclasses.field(default_factory=list)
    reward: list[tuple[int, float]] = dataclasses.field(default_factory=list)

    def state_dict(self) -> dict[str, Any]:
        return {"keep_probability": list(self.keep_probability), "reward": list(self.reward)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.keep_probability = [(step, list(values)) for step, values in state["keep_probability"]]
        self.reward = [(step, value) for step, value in state["reward"]]


class Method(ABC):
    """A way to decide what of an encoder stays.

    A method that learns is also a :class:`trimformer.training.loop.Learner`; one that does not (``trains`` is False)
    only decides. It never edits the model: it returns hard gates, and the pipeline trims.
    """

    name: ClassVar[str]
    Settings: ClassVar[type[MethodSettings]]
    trains: ClassVar[bool] = True

    def __init__(self, settings: Any, context: Context) -> None:
        self.check(settings, context.model.config)
        self.settings, self.context = settings, context
        self.networks: dict[str, Network] = {}
        self.clock = Clock()
        self.history = History()

    @classmethod
    def check(cls, settings: Any, config: TrimformerConfig) -> None:
        """Raise TrimformerError where this encoder cannot do what the settings ask for; called before any work, too."""
        layers = config.num_hidden_layers
        for name, least, what in (("keep_layers", 0, "layers with attention"), ("keep", 1, "layers")):
            keep = getattr(settings, name, None)
            if keep is not None and not least <= keep <= layers:
                raise TrimformerError(
                    f"{name}={keep} is out of range: this encoder has {layers} {what}, so keep {least} to {layers}."
                )

    @property
    def layers(self) -> int:
        return self.context.model.config.num_hidden_layers

    @property
    def removable(self) -> list[int]:
        """The layers that have more than what would stand in for their attention: those that ``keep_layers`` counts."""
        shapes, stand_in = self.context.model.config.shapes, self.settings.replace_by
        return [i for i, shape in enumerate(shapes) if lesser(shape.attention, stand_in) != shape.attention]

    @property
    def model(self) -> TrimformerWithHead:
        """The weights as they are after training, for trimming."""
        return self.context.model

    @abstractmethod
    def decide(self) -> Gates:
        """Hard gates: what stays (1) and what goes (0)."""

    def micro_step(self, batch: dict[str, Tensor], share: float) -> dict[str, float]:
        raise TypeError(f"{self.name} does not train")

    def update(self, step: int) -> dict[str, float]:
        raise TypeError(f"{self.name} does not train")

    def validate(self) -> float | None:
        return None

    def state_dict(self) -> dict[str, Any]:
        return {"history": self.history.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.history.load_state_dict(state["history"])

    def notes(self) -> list[str]:
        """Sentences for the report on what was decided and why."""
        return []


class StudentMethod(Method):
    """A method that trains the weights of one network, ``model``, under the stage's objective."""

    def __init__(self, settings: Any, context: Context) -> None:
        super().__init__(settings, context)
        self.networks["model"] = context.student("model", context.model)
        self.objective = context.make_objective()

    def learn(self, batch: dict[str, Tensor], share: float, gates: Gates | None = None) -> float:
        """Add the gradient of a share of the loss under these gates; returns the loss."""
        with self.clock("step"):
            loss = self.objective(self.networks["model"], batch, gates)
            self.networks["model"].backward(loss, share)
        return loss.item()

    def micro_step(self, batch: dict[str, Tensor], share: float) -> dict[str, float]:
        return {"loss": self.learn(batch, share)}

    def update(self, step: int) -> dict[str, float]:
        with self.clock("step"):
            self.networks["model"].step()
        return {}


METHODS: Registry[type[Method]] = Registry("method", "trimformer.methods", "trimformer.methods")
M = TypeVar("M", bound=type[Method])


def register(method: M) -> M:
    """Class decorator: make a method known under its name."""
    METHODS.add(method.name)(method)
    return method


def keep_gates(layers: int, keep: list[int] | set[int], replace_by: StandIn) -> Gates:
    """Hard attention gates that keep the given layers."""
    kept = torch.tensor([1.0 if index in keep else 0.0 for index in range(layers)])
    return Gates(attention=kept, removed=replace_by)
