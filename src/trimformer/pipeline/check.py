"""Refuse before any training what cannot work: each stage is checked against what the one before leaves."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from itertools import zip_longest

from ..encoder.model.heads import Kind
from ..encoder.shape.config import TrimformerConfig
from ..encoder.shape.embedding import EmbeddingShape
from ..errors import TrimformerError
from ..methods import METHODS, Method
from ..recipe.settings import StageSettings
from ..starts import STARTS, Origin, Origins, Start
from ..tasks.augmentation import AUGMENTATIONS
from ..tasks.data import Task
from ..tasks.kinds import KINDS
from ..training.matching import check_layer_map
from ..training.objective import terms_of
from ..training.settings import ObjectiveSettings
from ..training.terms.base import Term, in_order


def check_stages(
    stages: Sequence[StageSettings], origins: Origins, length: int, pairs: bool = False
) -> list[TrimformerConfig]:
    """The shapes that the stages start from, as far as they are known.

    length: tokens of the longest row. pairs: whether rows have two texts. Raises TrimformerError that names the first
    stage whose settings do not fit.
    """
    students = []
    for stage, following in zip_longest(stages, stages[1:]):
        start, method = STARTS[stage.start.name](stage.start, origins), METHODS[stage.method.name]
        try:
            student = start.config
            if method.kinds and origins.task.kind not in method.kinds:
                raise TrimformerError(
                    f"{method.name} is for {' and '.join(method.kinds)}, and the task is {origins.task.kind}: choose "
                    "another method."
                )
            if (why := method.refuses.get(origins.task.kind)) is not None:
                raise TrimformerError(f"{method.name} is not for {origins.task.kind}, because {why}.")
            _check_pairs(method, student, pairs)
            left = method.after(stage.method, student)
            goes_on = following is not None and following.start.name == "previous"
            method.check_next(stage.method, following.method if following is not None and goes_on else None)
            teacher = origins.previous if stage.teacher == "previous" else origins.dense
            if not start.own_tokenizer:  # another one is read when its stage begins
                method.check_tokenizer(origins.tokenizer, student)
            method.check_beside(student, teacher.config, not start.own_tokenizer)
            _check_objective(stage.objective, student, teacher.config, origins.task.kind)
            if origins.task.kind == "embedding":
                _check_vectors(stage.objective, student, teacher.config, origins.task)
            _check_augmentation(stage, origins)
            if start.own_tokenizer or teacher.own_tokenizer or method.rereads:
                _check_tokens(stage.objective, origins.task.kind)
            if teacher.own_tokenizer:
                raise TrimformerError(
                    "the stage before, its teacher, reads texts with another tokenizer: use teacher: dense."
                )
            if origins.task.kind == "masked-lm":
                _check_plain_text(stage, start, origins)
            if student.max_tokens < length:
                raise TrimformerError(
                    f"its model takes at most {student.max_tokens} tokens: set max_length of the task to that."
                )
        except TrimformerError as error:
            raise TrimformerError(f"Stage {stage.name}: {error}") from error
        students.append(student)
        found = method.hands_gates(stage.method, student)
        previous = Origin(left, start.own_tokenizer or method.changes_tokenizer, found=found)
        origins = dataclasses.replace(origins, previous=previous)
    return students


def _check_pairs(method: type[Method], student: TrimformerConfig, pairs: bool) -> None:
    if method.needs_pairs and not pairs:
        raise TrimformerError(
            f"{method.name} lets the first layers see each text of a pair by itself, and the rows of this task have "
            "one text: name the column of the second one (--text-pair), or choose another method."
        )
    if student.split_layers and not method.takes_split:
        raise TrimformerError(
            f"the first {student.split_layers} layers of its model see each text of a pair by itself, which "
            f"{method.name} does not know: use it before the stage that splits the model."
        )


def _check_objective(
    objective: ObjectiveSettings, student: TrimformerConfig, teacher: TrimformerConfig, kind: Kind
) -> None:
    for term in objective.terms:
        if term.kinds and kind not in term.kinds:
            raise TrimformerError(
                f"the term {term.name!r} of the objective is for {' and '.join(term.kinds)}, and the task is {kind}: "
                "leave it out."
            )
    check_layer_map(objective.layer_map, teacher)
    terms_of(objective, student, teacher)


def _check_plain_text(stage: StageSettings, start: Start, origins: Origins) -> None:
    """Refuse what the rows of a masked-LM task cannot give: they are masked anew in each pass, and have no labels."""
    if start.own_tokenizer or METHODS[stage.method.name].changes_tokenizer:
        raise TrimformerError(
            "its model would read plain text with another tokenizer, and the texts are tokenised once, by that of the "
            "recipe's model: do this in a run on labelled rows."
        )
    if stage.objective.cache:
        raise TrimformerError(
            "the rows of plain text are masked anew in each pass, so that the teacher's answers cannot be kept: leave "
            "cache out."
        )
    answers = [term.name for term in stage.objective.terms if term.needs_teacher and term.reads_answers]
    if answers and stage.teacher == "dense" and not origins.has_trained_head:
        raise TrimformerError(
            f"the model of the recipe has no masked-LM head whose answers the term {answers[0]!r} could compare: leave "
            "the term out, or name a checkpoint that has such a head."
        )


def _check_augmentation(stage: StageSettings, origins: Origins) -> None:
    """Refuse new rows that a stage cannot have, or from which it could not learn rightly."""
    if stage.augment is None:
        return
    if KINDS[origins.task.kind].form != "texts":
        raise TrimformerError(f"augment changes the words of texts, and the task is {origins.task.kind}: leave it out.")
    if not METHODS[stage.method.name].trains:
        raise TrimformerError(
            f"augment gives rows to learn from, and {stage.method.name} trains nothing: leave it out."
        )
    if not stage.objective.needs_teacher:
        raise TrimformerError(
            "augment makes rows that the teacher labels, and this objective does not distil from it: give it a term "
            "that does, such as logits, or leave augment out."
        )
    AUGMENTATIONS[stage.augment.name].check(stage.augment, origins.tokenizer)


def _check_vectors(
    objective: ObjectiveSettings, student: TrimformerConfig, teacher: TrimformerConfig, task: Task
) -> None:
    """Refuse vectors of another length where they are compared with a teacher's one by one."""
    ours, theirs = (EmbeddingShape.read(one.embedding).size(one.hidden_size) for one in (student, teacher))
    if ours != theirs and (task.pseudo_labels or any(term.by_number for term in objective.terms)):
        raise TrimformerError(
            f"its vectors have {ours} dimensions and the dense model's {theirs}, so that they cannot be compared one "
            "by one: score couples (--text-pair) and learn from similarities alone, or take a student by its shape, "
            "which gives vectors as long as its teacher's."
        )


def _check_tokens(objective: ObjectiveSettings, kind: Kind) -> None:
    """Refuse terms that compare a student and a teacher token by token, where their tokenizers differ."""
    by_token = KINDS[kind].per_token
    if any(_compares_tokens(term, by_token) for term in objective.terms):
        able = (term for term in in_order() if not term.kinds or kind in term.kinds)
        usable = [term.name for term in able if not _compares_tokens(term, by_token)]
        raise TrimformerError(
            "the model and its teacher split texts differently, so that nothing of single tokens can be compared: of "
            f"the objective's terms only {' and '.join(usable)} can be used."
        )


def _compares_tokens(term: type[Term], by_token: bool) -> bool:
    """Whether a term compares student and teacher token by token. by_token: the answers belong to tokens."""
    return term.reads_states or term.reads_trace or (by_token and term.needs_teacher)
