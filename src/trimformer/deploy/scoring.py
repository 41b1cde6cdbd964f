"""Scores of exported files on a task's validation rows, and the texts that static int8 is calibrated with."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from ..encoder import TrimformerWithHead
from ..inference.runtimes.exits import ExitSession
from ..inference.runtimes.session import Session
from ..tasks.balance import balance_notes
from ..tasks.data import Examples, MissingRows, Task, TaskData
from ..tasks.encode import read_rows
from ..tasks.encoding.encoded import Encoded
from ..tasks.labels import names_of
from ..tasks.outcome import Outcome, outcome
from ..tasks.settings import TaskSettings
from ..tasks.task import check_kind, load_task, load_validation
from ..training.evaluate import predict_logits
from .agreement import agreement

PYTORCH = "The model in fp32"
TEXTS = 4000
"""Of the rows to learn from about so many are read: a few hundred are looked at."""


def agreement_of(session: Session | None, data: Encoded, exact: np.ndarray, logits: np.ndarray) -> float:
    """The share of the answers on these rows that are those of fp32, whose logits are ``exact``.

    session: what gave the other logits, where a file did. One whose texts leave at a threshold of its own is asked
    again at that of fp32, so that the share says what the rounding does.
    """
    if isinstance(session, ExitSession) and (other := session.as_in_fp32) is not session:
        logits = predict_logits(as_model(other.run), data, title="Comparing with fp32")
    return agreement(data, exact, logits)


def as_model(run: Callable[[dict[str, Tensor]], np.ndarray]) -> Any:
    """A function of a batch, as the scoring of models expects it."""
    return lambda gates, **batch: SimpleNamespace(logits=torch.from_numpy(run(batch)))


class Judge:
    """Scores other forms of a model on the rows of its task, and compares their answers with those of PyTorch in fp32.

    train: the rows to learn from, none of which is scored on. selection: the rows by which the threshold of exits is
    chosen; None: there are none.
    """

    def __init__(
        self,
        model: TrimformerWithHead,
        task: Task,
        validation: Encoded,
        train: Encoded | None,
        selection: Encoded | None = None,
    ) -> None:
        self.model, self.task, self.validation = model, task, validation
        self._train, self._selection = train, selection
        self._outcomes: dict[str, Outcome] = {}

    @functools.cached_property
    def reference(self) -> float:
        """The official metric of the model in PyTorch, fp32."""
        self.keep(PYTORCH, found := outcome(self.task, self.validation, self._exact))
        return self.score(found)

    def judge(self, session: Session) -> tuple[Outcome, float]:
        """What an exported file answers, and the share of its answers that are those of PyTorch in fp32."""
        logits = predict_logits(as_model(session.run), self.validation, title="Scoring the file")
        same = agreement_of(session, self.validation, self._exact, logits)
        return outcome(self.task, self.validation, logits), same

    def score(self, found: Outcome) -> float:
        """The official metric."""
        return found.scores[self.task.metrics[0]]

    def keep(self, name: str, found: Outcome) -> None:
        """What the file of this name answers, for :meth:`balance`."""
        self._outcomes[name] = found

    def balance(self, *names: str) -> list[str]:
        """What the scores of PyTorch and of the files of these names hide, see :func:`balance_notes`."""
        return balance_notes(self.task, {name: self._outcomes[name] for name in (PYTORCH, *names)}, "validation")

    def training_texts(self) -> Encoded | None:
        """Rows to learn from; None where there are none."""
        return self._train

    def selection_rows(self) -> Encoded | None:
        """Rows to choose by; None where there are none."""
        return self._selection

    @functools.cached_property
    def _exact(self) -> np.ndarray:
        return predict_logits(self.model, self.validation, title="Scoring PyTorch")


class Scorer(Judge):
    """A judge by a task that is read for a fine-tuned model.

    notes: how the model's outputs and the rows are read, where that is not plain, see :func:`read_rows`.

    Raises TrimformerError for mistakes in settings or data, and where the head is not for the task.
    """

    def __init__(self, model: TrimformerWithHead, tokenizer: PreTrainedTokenizerBase, settings: TaskSettings) -> None:
        self.tokenizer, self.settings = tokenizer, settings.read_for(model.kind)
        task, examples = load_validation(self.settings, names_of(model.config))
        check_kind(task, model.kind, "The model")
        self.model, self.task = model, task  # what reading needs
        validation, self.notes = self._read(examples)
        super().__init__(model, task, validation, None)

    def training_texts(self) -> Encoded | None:
        """Some of the task's rows to learn from, one in so many; None where only a validation file is given."""
        if self._data is None:
            return None
        train = self._data.train
        return self._read(train.take(range(0, len(train), max(1, len(train) // TEXTS))))[0]

    def selection_rows(self) -> Encoded | None:
        """The rows that are held out of those to learn from; None where only a validation file is given."""
        return self._held

    @functools.cached_property
    def _held(self) -> Encoded | None:
        return None if self._data is None else self._read(self._data.selection)[0]

    @functools.cached_property
    def _data(self) -> TaskData | None:
        try:
            return load_task(self.settings, labels=names_of(self.model.config))
        except MissingRows:
            return None

    def _read(self, examples: Examples) -> tuple[Encoded, list[str]]:
        folder = Path(self.tokenizer.name_or_path) if self.tokenizer.name_or_path else None
        return read_rows(self.task, examples, self.tokenizer, self.settings, self.model.config, folder)
