"""The score of every variant on the validation rows of a task, with its own tokenizer and its own back-end."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...deploy.agreement import agrees, warning
from ...deploy.scoring import agreement_of, as_model
from ...encoder.checkpoints.load import load_tokenizer, read_config, read_kind, resolve
from ...encoder.checkpoints.shapes import PREFIX
from ...errors import TrimformerError
from ...tasks.data import Task
from ...tasks.encode import read_rows
from ...tasks.encoding.encoded import Encoded
from ...tasks.labels import names_of
from ...tasks.outcome import outcome
from ...tasks.settings import TaskSettings
from ...tasks.task import check_kind, load_validation
from ...training.evaluate import predict_logits
from .variants import Variant, backends_of, precision, reason


@dataclasses.dataclass(frozen=True)
class Score:
    """The task's official metric of a variant; None where it could not be scored, skipped says why.

    said: what is odd about how its texts were read, and where they were cut; empty where nothing is. agreement: share
    of the answers that are those of the same model in fp32, with exits at the threshold of fp32; None where nothing in
    fp32 was scored beside it.
    """

    name: str
    backend: str
    metric: str
    score: float | None
    n_examples: int
    skipped: str = ""
    said: str = ""
    agreement: float | None = None

    @property
    def warning(self) -> str:
        """The sentence on answers that are not those of fp32; empty where they are, or nothing is known of it."""
        if self.agreement is None or agrees(self.agreement):
            return ""
        return warning(f"{self.name} under {self.backend}", self.agreement, "rows")


def score_variants(variants: Sequence[Variant], models: Mapping[str, Any], settings: TaskSettings) -> list[Score]:
    """Score variants by the names of their models.

    Raises TrimformerError where none can be scored.
    """
    scores: list[Score] = []
    for name, model in models.items():
        scores += _scores([variant for variant in variants if variant.name == name], model, settings)
    if all(score.score is None for score in scores):
        raise TrimformerError(f"No variant could be scored: {scores[0].skipped}")
    return scores


def validation(model: Any, settings: TaskSettings) -> tuple[Task, Encoded, list[str]]:
    """The task's validation rows as this model reads them, and what is to be said of that, see :func:`read_rows`.

    Raises TrimformerError for a model without files, or with another head than the task needs.
    """
    folder = tokenizer_folder(model)
    config, kind = read_config(folder), read_kind(folder)
    task, examples = load_validation(settings.read_for(kind), names_of(config))
    check_kind(task, kind, str(model))
    return task, *read_rows(task, examples, load_tokenizer(folder), settings, config, folder)


def tokenizer_folder(model: Any) -> Path:
    """Where tokenizer and config.json of a model or of an exported file lie."""
    if not isinstance(model, str | Path) or str(model).startswith(PREFIX):
        raise TrimformerError("A bare shape, or a model without a folder, has no tokenizer: give a folder or hub id.")
    return Path(model).parent if backends_of(Path(model)) else resolve(model)


def _scores(variants: Sequence[Variant], model: Any, settings: TaskSettings) -> Iterator[Score]:
    try:
        task, data, notes = validation(model, settings)
    except TrimformerError as error:
        for variant in variants:
            yield Score(variant.name, variant.backend, "", None, 0, str(error))
        return
    said = " ".join(notes)
    exact: np.ndarray | None = None
    for variant in sorted(variants, key=lambda variant: precision(variant.backend) != "fp32"):
        found = Score(variant.name, variant.backend, task.metrics[0], None, len(data.examples), variant.skipped, said)
        if variant.run is None:
            yield found
            continue
        try:
            logits = predict_logits(as_model(variant.run), data, title=f"Scoring {variant.name}, {variant.backend}")
            score = outcome(task, data, logits).scores[task.metrics[0]]
            if exact is None and precision(variant.backend) == "fp32":
                exact = logits
            same = None if exact is None else agreement_of(variant.session, data, exact, logits)
            yield dataclasses.replace(found, score=score, agreement=same)
        except Exception as error:  # every runtime has its own
            yield dataclasses.replace(found, skipped=reason(error))
