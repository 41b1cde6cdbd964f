"""Weight squeezing: the weights of a narrow student are learned maps of the teacher's weights, and folded at the end.

Chumachenko, Gavrilov, Balagansky and Kalaidin, "Weight Squeezing", 2020: a matrix of the student is W_S = L W_T R. W_T
is that of the teacher, which stays as it is, and L and R are trained; biases and norms are b_S = L b_T. The rows of a
table are tokens or positions in both, so that only its dimensions are mapped, and so are outputs that are labels.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.utils import parametrize

from ...encoder.gating.keep import LAYER_NAME, axes_of
from ...encoder.model.body import TrimformerModel, TrimformerPreTrainedModel
from ...encoder.parts.baked import bake
from ...encoder.shape.config import LayerShape, TrimformerConfig
from ...encoder.shape.gates import Gates
from ...errors import TrimformerError
from ...training.matching import Layers
from ...training.settings import ObjectiveSettings
from ..base import Context, MethodSettings, Standard, StudentMethod, register
from ..result import Result


class SqueezeSettings(MethodSettings):
    """Settings of weight squeezing."""

    name: Literal["squeeze"] = "squeeze"
    init: Literal["cut", "random"] = Field(
        "cut",
        description="how the maps start: cut: they choose the first heads, units and dimensions; random: normal "
        "numbers that leave the weights as large as they are",
    )


@dataclasses.dataclass(frozen=True)
class Origin:
    """What a weight of the student is made of. name: of the teacher's weight. mapped: which of its axes have a map."""

    name: str
    mapped: tuple[bool, ...]


class Squeezed(nn.Module):
    """L W R of a constant W, for the axes that have a map; L and R are what is trained."""

    teacher: Tensor

    def __init__(self, teacher: Tensor, starts: Sequence[Tensor | None]) -> None:
        super().__init__()
        # Not saved with the state of a training: it is the dense model's.
        self.register_buffer("teacher", teacher.detach().clone(), persistent=False)
        self.dimensions = [dimension for dimension, start in enumerate(starts) if start is not None]
        self.starts = [start for start in starts if start is not None]

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, ...]:
        """What the maps start with, whatever the weight was."""
        starts, self.starts = tuple(self.starts), []
        return starts

    def forward(self, *maps: Tensor) -> Tensor:
        weight = self.teacher
        for dimension, given in zip(self.dimensions, maps, strict=True):
            weight = torch.tensordot(given, weight, dims=1) if dimension == 0 else weight @ given
        return weight


@register
class Squeeze(StudentMethod):
    """Train maps from the teacher's weights to the student's."""

    name = "squeeze"
    Settings = SqueezeSettings
    decides = False
    trains_students = True
    needs_dense = True
    standard = Standard(objective=ObjectiveSettings(logits=1.0), repair=None)

    def __init__(self, settings: Any, context: Context) -> None:
        assert context.teacher is not None, "a method that needs the dense model is given it"
        self.weights = sum(weight.numel() for weight in context.model.parameters())
        squeeze(context.model, context.teacher, settings.init)
        super().__init__(settings, context)

    @classmethod
    def check_beside(cls, config: TrimformerConfig, dense: TrimformerConfig, same_tokens: bool) -> None:
        if not same_tokens:
            raise TrimformerError(
                "The student reads texts with another tokenizer than the dense model, of whose word table its own is "
                "to be made: let it start from a shape."
            )
        if (config.hidden_size, config.shapes) == (dense.hidden_size, dense.shapes):
            raise TrimformerError(
                "The method squeeze makes the weights of a smaller student, but its stage starts from the dense "
                "model's own shape: name a student (--student, or start: {name: student, shape: ...} in a recipe)."
            )
        with torch.device("meta"):
            origins_of(TrimformerModel(config), TrimformerModel(dense))

    def decide(self) -> Gates:
        """Nothing is switched off."""
        return Gates()

    def result(self) -> Result:
        """The student with its weights folded."""
        return Result(bake(self.model).cpu(), notes=self.notes())

    def notes(self) -> list[str]:
        learned = sum(weight.numel() for weight in self.model.parameters())
        return [
            f"the student's {self.weights:,} weights were made of the dense model's by {learned:,} learned numbers and "
            "folded at the end."
        ]


def squeeze(student: TrimformerPreTrainedModel, teacher: TrimformerPreTrainedModel, init: str) -> None:
    """Put every weight of the student under a map of the teacher's; weights without any axis to map are copied.

    Raises TrimformerError as :func:`origins_of`.
    """
    axes, given = axes_of(student), dict(teacher.named_parameters(remove_duplicate=False))
    origins = origins_of(student, teacher)
    for name, weight in list(student.named_parameters()):
        source, (place, _, leaf) = given[origins[name].name], name.rpartition(".")
        if not any(origins[name].mapped):
            weight.data.copy_(source.detach())
            continue
        ours, theirs = (_shape(model.config, each) for model, each in ((student, name), (teacher, origins[name].name)))
        starts: list[Tensor | None] = []
        for dimension, mapped in enumerate(origins[name].mapped):
            sizes = (weight.shape[dimension], source.shape[dimension])
            if init == "random":
                start = torch.randn(sizes, dtype=weight.dtype) / sizes[1] ** 0.5
            else:
                start = chosen(axes[name][dimension], sizes, ours, theirs).to(weight.dtype)
            starts.append((start if dimension == 0 else start.T.contiguous()) if mapped else None)
        parametrize.register_parametrization(student.get_submodule(place), leaf, Squeezed(source, starts))


def origins_of(student: TrimformerPreTrainedModel, teacher: TrimformerPreTrainedModel) -> dict[str, Origin]:
    """What each weight of the student is made of; its layers are matched with the teacher's, evenly spread.

    Raises TrimformerError where the teacher has no such weight or one with other rows, and for a head that has the
    word table.
    """
    owners: dict[int, set[int]] = {}
    for name, weight in student.named_parameters(remove_duplicate=False):
        owners.setdefault(id(weight), set()).add(id(student.get_submodule(name.rpartition(".")[0])))
        if len(owners[id(weight)]) > 1:
            raise TrimformerError(
                f"The head has the word table as {name}, and maps would part them: the method squeeze cannot train a "
                "masked language model, finetune can."
            )
    layers = dict(Layers(student.config, teacher.config).pairs)
    axes, given = axes_of(student), dict(teacher.named_parameters(remove_duplicate=False))
    found = {}
    for name, weight in student.named_parameters():
        source = _source(name, layers)
        if source not in given or given[source].ndim != weight.ndim:
            raise TrimformerError(
                f"The weight {name} of the student is to be made of {source}, which the dense model does not have: "
                "give the student layers of the kinds that the dense model has, evenly spread."
            )
        table = isinstance(student.get_submodule(name.rpartition(".")[0]), nn.Embedding)
        fixed = table or axes[name][0] == "vocabulary"  # its rows are tokens, positions or segments
        names = (None if fixed else axes[name][0], *axes[name][1:], *[None] * weight.ndim)
        sizes = zip(weight.shape, given[source].shape, names, strict=False)
        mapped = tuple(axis is not None or ours != theirs for ours, theirs, axis in sizes)
        if (fixed and mapped[0]) or any(mapped[2:]) or (weight.ndim > 2 and mapped[1]):
            raise TrimformerError(
                f"The weight {name} has the shape {tuple(weight.shape)} in the student and cannot be made of that in "
                f"the dense model, {tuple(given[source].shape)}: give the student the same tokens and positions."
            )
        found[name] = Origin(source, mapped)
    return found


def chosen(axis: str | None, sizes: tuple[int, int], ours: LayerShape | None, theirs: LayerShape | None) -> Tensor:
    """The map that chooses the first of the teacher's rows, of axes with heads the first of each: (ours, theirs).

    A larger axis begins anew. Queries are scaled, because scores are divided by the root of their dimensions.
    """
    heads, dimensions = [1, 1], list(sizes)
    if ours is not None and theirs is not None and axis in ("query", "key", "values", "outputs"):
        heads = [ours.heads, theirs.heads]
        dimensions = [size // count for size, count in zip(sizes, heads, strict=True)]
    head, dimension = torch.arange(heads[0]) % heads[1], torch.arange(dimensions[0]) % dimensions[1]
    rows = (head[:, None] * dimensions[1] + dimension).flatten()
    scale = (dimensions[0] / dimensions[1]) ** 0.5 if axis == "query" else 1.0
    return torch.eye(sizes[1])[rows] * scale


def _source(name: str, layers: dict[int, int]) -> str:
    found = LAYER_NAME.match(name)
    return name if found is None else f"{found[1] or ''}layers.{layers[int(found[2])]}.{name[found.end() :]}"


def _shape(config: TrimformerConfig, name: str) -> LayerShape | None:
    found = LAYER_NAME.match(name)
    return None if found is None else config.shapes[int(found[2])]
