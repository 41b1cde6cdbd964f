"""The recipes that ``compress`` makes of a method or of a budget, and that of a study."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from ..encoder.checkpoints.shapes import NAMED
from ..errors import TrimformerError
from ..methods import METHODS
from ..starts import STARTS
from ..starts.student import DISTIL
from ..tasks.limits import MAX_LENGTH
from ..tasks.settings import TaskSettings
from ..training.settings import TrainingSettings
from .reading import checked_method, parse
from .settings import FineTune, Recipe


def standard_recipe(
    model: str,
    task: TaskSettings,
    out: str,
    *,
    method: dict[str, Any],
    training: TrainingSettings | None = None,
    fine_tune: FineTune = "auto",
    control: Literal["dense"] | None = None,
    student: str | None = None,
    seed: int = 0,
) -> Recipe:
    """What ``compress`` does by default for a method (``{"name": "attendout", "keep_layers": 3}``).

    The method itself says where its stage starts, what it minimises and which fine-tuning follows (``standard``).
    student: what it starts from instead, see :func:`student_start`; it learns from the labels and from the teacher's
    answers.
    """
    standard = METHODS[checked_method(method).name].standard
    training = training or TrainingSettings()
    first = {
        "name": standard.stage,
        "method": method,
        "start": standard.start if student is None else student_start(student),
        "objective": standard.objective if student is None else {"task": 1.0, "logits": 1.0},
        "training": training,
    }
    repair = {
        "name": "repair",
        "method": {"name": "finetune"},
        "objective": standard.repair,
        "training": training,
    }
    stages = [first] if standard.repair is None else [first, repair]
    return parse(
        {
            "model": model,
            "task": task,
            "out": out,
            "seed": seed,
            "dense": training,
            "fine_tune": fine_tune,
            "stages": stages,
            "control": control,
        },
        "these settings",
    )


def augmented_recipe(recipe: Recipe, augment: str) -> Recipe:
    """The recipe with new rows in every stage that distils, made by the augmentation of this name.

    Raises TrimformerError where there is no such stage or no such augmentation.
    """
    content = recipe.model_dump(mode="json")
    distil = [
        stage for stage, read in zip(content["stages"], recipe.stages, strict=True) if read.objective.needs_teacher
    ]
    if not distil:
        raise TrimformerError(
            "--augment makes rows that the teacher labels, and no stage of this method learns from the teacher: leave "
            "it out."
        )
    for stage in distil:
        stage["augment"] = augment
    return parse(content, "these settings")


def student_start(text: str) -> dict[str, Any]:
    """The start that a student's name stands for: ``distil``, a shape, a start that is a student, or a checkpoint.

    A shape gets the weights of the dense model, cut to it. Raises TrimformerError for what is none of these.
    """
    students = [name for name, start in STARTS.items() if start.is_student]
    if text in students:
        return {"name": text}
    if text == DISTIL:
        return {"name": "student", "layers": text}
    if text in NAMED:
        return {"name": "student", "shape": text, "weights": "teacher"}
    if "/" in text or Path(text).is_dir():
        return {"name": "student", "checkpoint": text}
    known = [DISTIL, *students, *NAMED]
    near = difflib.get_close_matches(text, known, 1)
    hint = (
        f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}, and folders and hub ids of encoders."
    )
    raise TrimformerError(f"Unknown student {text!r}: {hint}")


def study_recipe(
    model: str,
    texts: Sequence[str],
    out: str,
    *,
    max_length: int = MAX_LENGTH,
    shape: str | None = None,
    per_layer: bool = False,
    training: TrainingSettings | None = None,
    seed: int = 0,
) -> Recipe:
    """A study of the positions of attention on plain text: a stage of masked tokens with a factor for each position.

    shape: of a fresh encoder that takes the place of the model, such as minilm6; None: the model goes on.
    """
    stage = {
        "name": "study",
        "start": "dense" if shape is None else {"name": "student", "shape": shape},
        "method": {"name": "position-importance", "per_layer": per_layer},
        "training": training or TrainingSettings(),
    }
    return parse(
        {
            "model": model,
            "task": {"name": "text", "texts": list(texts), "packed": True, "max_length": max_length},
            "out": out,
            "seed": seed,
            "stages": [stage],
            "measure": {"backends": ["torch"], "batch": [1]},
            "export": {"onnx": False},
        },
        "these settings",
    )


def autopilot_recipe(
    model: str,
    task: TaskSettings,
    out: str,
    *,
    budget: dict[str, Any],
    batch: int = 1,
    length: int | None = None,
    training: TrainingSettings | None = None,
    fine_tune: FineTune = "auto",
    seed: int = 0,
) -> Recipe:
    """A search within a budget, ``{"max_drop": 0.5}`` and the like; ``batch`` and ``length`` are what is to be fast.

    With ``max_size`` in the budget nothing is exported.
    """
    training = training or TrainingSettings()
    measured = {"batch": [batch], "length": None if length is None else [length]}
    return parse(
        {
            "model": model, "task": task, "out": out, "seed": seed, "dense": training, "fine_tune": fine_tune,
            "autopilot": budget | {"training": training}, "measure": measured,
            "export": {"onnx": budget.get("max_size") is None},
        },
        "these settings",
    )  # fmt: skip
