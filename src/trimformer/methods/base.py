"""What a method is: it makes an encoder smaller. One file per method; each registers itself under its name."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, TypeVar

import torch
from accelerate import Accelerator
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from ..encoder.gating.trim import trim
from ..encoder.model.heads import Kind, TrimformerWithHead
from ..encoder.shape.config import TrimformerConfig
from ..encoder.shape.gates import Gates
from ..encoder.shape.kinds import StandIn
from ..errors import TrimformerError
from ..registry import Registry
from ..tasks.data import Task
from ..tasks.encoding.batches import bucketed_batches, drawn_rows
from ..tasks.encoding.couples import Couples, whole
from ..tasks.encoding.encoded import Encoded
from ..tasks.encoding.part import Part
from ..training.clock import Clock
from ..training.network import Network
from ..training.objective import Objective, readings_of, terms_of
from ..training.paired import Paired
from ..training.projection import Projected
from ..training.reading import Reading
from ..training.settings import ObjectiveSettings, TrainingSettings
from ..training.teacher_cache import TeacherCache
from .expected import out_of_range, removable
from .history import History
from .result import Result


class MethodSettings(BaseModel):
    """Settings of a method: each adds ``name``, a literal with the name of its method, and its own fields."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    name: Any

    @property
    def label(self) -> str:
        """What the method is told to do, in a few words for the head of the report."""
        return str(self.name)


class KeepSettings(MethodSettings):
    """How many layers keep their attention, and what becomes of the others."""

    keep_layers: int = Field(ge=0, description="attention layers that stay")
    replace_by: StandIn = Field("mean", description="what a layer that loses its attention becomes")

    @property
    def label(self) -> str:
        return worded(self.name, keep=self.keep_layers, replace_by=self.replace_by)


def stand_in_of(settings: Any) -> StandIn:
    """The kind that a layer gets when it loses its attention; by default where a method has no such setting."""
    return getattr(settings, "replace_by", Gates().removed)


def worded(name: str, *, control: str = "learned", keep: int | None = None, replace_by: str = "mean") -> str:
    """The label of a method that keeps some layers, or all where ``keep`` is None."""
    parts = [
        name,
        *([control] if control != "learned" else []),
        *([f"keep {keep}"] if keep is not None else []),
        *([f"replace by {replace_by}"] if replace_by != "mean" else []),
    ]
    return ", ".join(parts)


DISTILLED = ObjectiveSettings(logits=1.0, hidden=1.0)


class Standard(NamedTuple):
    """What ``compress`` makes of a method where nobody says more.

    stage: the name of its stage. start: what that stage starts from. objective: what it minimises. repair: what the
    fine-tuning that follows minimises; None: none follows.
    """

    stage: str = "search"
    start: str = "dense"
    objective: ObjectiveSettings = ObjectiveSettings()
    repair: ObjectiveSettings | None = DISTILLED


@dataclasses.dataclass(frozen=True)
class Context:
    """What a stage hands to its method.

    model: the weights to start from. teacher: the dense fine-tuned model, where the objective or the method needs it.
    train: what weights are trained on. selection: held out from train, what structure is chosen on.
    steps: optimiser steps of the stage. folder: of the run, for what its stages keep on disk. tokenizer: of the model.
    distilled: train and behind it rows without labels, where an objective with a teacher learns from some.
    teacher_train: the rows of the objective as the teacher's tokenizer encodes them, where it is another one.
    part: what a method that searches has left of these rows for the weights; None: all.
    handed: what the stage before hands on beside its model, where this one starts from it.
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
    tokenizer: PreTrainedTokenizerBase | None = None
    distilled: Encoded | None = None
    teacher_train: Encoded | None = None
    part: Part | None = None
    handed: Mapping[str, Tensor] = dataclasses.field(default_factory=dict)

    @property
    def learned(self) -> Encoded:
        """What is learned from: train, and rows without labels where there are some."""
        return self.train if self.distilled is None else self.distilled

    @property
    def rows(self) -> Encoded | Paired | Couples | Part:
        """What the objective is minimised on: train and rows without labels, for the teacher in its own tokens."""
        if self.part is not None:
            return self.part
        rows = self.learned
        found: Encoded | Paired | Couples = whole(
            rows if self.teacher_train is None else Paired(rows, self.teacher_train)
        )
        return found

    def network(self, name: str, module: torch.nn.Module, **options: Any) -> Network:
        """Prepare a module for training under this stage's settings."""
        return Network(name, module, self.accelerator, self.training, self.steps, **options)

    def sample(self, data: Encoded, rows: int) -> Iterator[dict[str, Tensor]]:
        """Batches on the device: `rows` rows (of couples, both) of a split, drawn with the seed; all of fewer."""
        units = whole(data)
        chosen = drawn_rows(len(units), rows, self.seed)
        for indices in bucketed_batches(units.lengths[chosen], self.training.batch_size, 0, 0, shuffle=False):
            batch = units.batch(chosen[indices].tolist())
            yield {name: value.to(self.accelerator.device) for name, value in batch.items()}

    def means(self, gradients: list[Tensor]) -> list[Tensor]:
        """Gradients as means over the processes."""
        if self.accelerator.num_processes == 1:
            return gradients
        return [self.accelerator.reduce(gradient, reduction="mean") for gradient in gradients]

    def student(self, name: str, model: TrimformerWithHead, **options: Any) -> Network:
        """Prepare an encoder for training under this stage's objective; options: of its network.

        With it a projection is trained where hidden states are compared that are not as wide as the teacher's.
        """
        module: torch.nn.Module = model.train()
        if self.objective.reads_states and self.teacher is not None:
            width, wanted = model.config.hidden_size, self.teacher.config.hidden_size
            module = module if width == wanted else Projected(model, width, wanted)
        return self.network(name, module, **options)

    def make_objective(self) -> Objective:
        """The stage's objective, with the teacher in evaluation mode on the right device."""
        settings, student, kind = self.objective, self.model.config, self.task.kind
        if not settings.needs_teacher:
            return Objective(terms_of(settings, student, student), kind)  # compares the student with nothing
        if self.teacher is None:
            raise TrimformerError(
                "This stage distils, but there is no dense model to learn from: use start and objective without "
                "distillation."
            )
        terms = terms_of(settings, student, self.teacher.config)
        teacher = self.accelerator.prepare_model(self.teacher.eval(), evaluation_mode=True)
        if settings.cache:
            teacher = self._cached(self.teacher, teacher, readings_of(terms))
        return Objective(terms, kind, teacher)

    def _cached(self, teacher: TrimformerWithHead, forward: Any, readings: tuple[Reading, ...]) -> TeacherCache:
        assert self.folder is not None, "a cache needs a folder"
        precision = self.accelerator.mixed_precision
        with self.accelerator.main_process_first():
            data = self.learned if self.teacher_train is None else self.teacher_train
            return TeacherCache(teacher, forward, data, readings, self.folder, precision=precision)


class Method:
    """A way to a smaller encoder.

    A method that learns is also a :class:`trimformer.training.loop.Learner`; one that does not (``trains`` is False)
    only decides. It ends with a result. Most methods never edit the model: they ``decide`` by hard gates, and the
    result is the model without what these switch off. Others override ``result``.

    example: settings of a small stage beside the defaults, for the laws.
    """

    name: ClassVar[str]
    former_names: ClassVar[tuple[str, ...]] = ()
    example: ClassVar[Mapping[str, Any]] = {}
    Settings: ClassVar[type[MethodSettings]]
    trains: ClassVar[bool] = True
    decides: ClassVar[bool] = True  # False: only the weights become others
    kinds: ClassVar[tuple[Kind, ...]] = ()  # of task that it is for, empty: all
    refuses: ClassVar[Mapping[str, str]] = {}  # kinds that it is not for, and why
    changes_tokenizer: ClassVar[bool] = False
    rereads: ClassVar[bool] = False  # True: while it learns it splits texts otherwise than its teacher
    needs_dense: ClassVar[bool] = False  # True: it is given the dense model, whatever the objective is
    trains_students: ClassVar[bool] = False  # True: compress may let it start from a student
    rounds: ClassVar[bool] = False  # True: it leaves input_ranges that belong to its weights
    needs_pairs: ClassVar[bool] = False  # True: it is for rows of two texts
    takes_split: ClassVar[bool] = True  # False: not for encoders whose first layers see each text of a pair by itself
    nests: ClassVar[bool] = False  # True: what it leaves may hold smaller models, which can be cut out
    standard: ClassVar[Standard] = Standard()

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
        keep_layers, keep = getattr(settings, "keep_layers", None), getattr(settings, "keep", None)
        if keep_layers is not None and not 0 <= keep_layers <= layers:
            raise out_of_range("keep_layers", keep_layers, 0, len(removable(config, stand_in_of(settings))))
        if keep is not None and not 1 <= keep <= layers:
            raise out_of_range("keep", keep, 1, layers)

    @classmethod
    def check_beside(cls, config: TrimformerConfig, dense: TrimformerConfig, same_tokens: bool) -> None:
        """Raise TrimformerError where it cannot use this dense model; same_tokens: whether both read texts alike."""

    @classmethod
    def check_tokenizer(cls, tokenizer: PreTrainedTokenizerBase, config: TrimformerConfig) -> None:
        """Raise TrimformerError where it cannot do with this tokenizer of a model of this shape."""

    @classmethod
    def check_next(cls, settings: Any, following: Any) -> None:
        """Raise TrimformerError where the next stage cannot use what this one leaves.

        following: the settings of its method; None where there is none, or it starts from another model.
        """

    @classmethod
    def hands_gates(cls, settings: Any, config: TrimformerConfig) -> Gates | None:
        """Gates of the sizes of those that it hands on to cut another model by, all 1; None: it hands on none."""
        return None

    @classmethod
    def after(cls, settings: Any, config: TrimformerConfig) -> TrimformerConfig:
        """The shape that a stage leaves of this one, as far as it is known before any training.

        Where the choice is only learned, any choice stands for all. Raises TrimformerError where the settings
        do not fit.
        """
        cls.check(settings, config)
        return config

    @property
    def layers(self) -> int:
        return self.context.model.config.num_hidden_layers

    @property
    def removable(self) -> list[int]:
        """The layers that have more than what would stand in for their attention: those that ``keep_layers`` counts."""
        return removable(self.context.model.config, stand_in_of(self.settings))

    @property
    def model(self) -> TrimformerWithHead:
        """The weights as they are after training, for trimming."""
        return self.context.model

    def result(self) -> Result:
        """What the stage leaves: the weights as they are, without what ``decide`` switches off."""
        return Result(trim(self.model, self.decide()).cpu(), notes=self.notes())

    def decide(self) -> Gates:
        """Hard gates: what stays (1) and what goes (0)."""
        raise TypeError(f"{self.name} does not decide by gates")

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
        self.networks["model"] = context.student("model", context.model, **self.options())
        self.objective = context.make_objective()

    def options(self) -> dict[str, Any]:
        """How its network is trained, where that is not as the settings of the stage say."""
        return {}

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
    METHODS.add(method.name, *method.former_names)(method)
    return method
