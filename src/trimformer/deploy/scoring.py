"""Scores of exported files on a task's validation rows, and the texts that static int8 is calibrated with."""

from __future__ import annotations

import functools
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from ..encoder import TrimformerWithHead
from ..inference.runtimes.session import Session
from ..tasks.cuts import cuts_of
from ..tasks.data import Examples
from ..tasks.encode import encode
from ..tasks.encoding.encoded import Encoded
from ..tasks.labels import names_of
from ..tasks.outcome import outcome
from ..tasks.settings import TaskSettings
from ..tasks.task import check_kind, load_task, load_validation
from ..training.evaluate import predict_logits


class Scorer:
    """A fine-tuned model's task, to score other forms of the model on it.

    Raises TrimformerError for mistakes in settings or data, and where the head is not for the task.
    """

    def __init__(self, model: TrimformerWithHead, tokenizer: PreTrainedTokenizerBase, settings: TaskSettings) -> None:
        self.model, self.tokenizer, self.settings = model, tokenizer, settings
        self.task, examples = load_validation(settings, names_of(model.config))
        check_kind(self.task, model.kind, "The model")
        self.validation = self._encoded(examples)

    @functools.cached_property
    def reference(self) -> float:
        """The official metric of the model in PyTorch, fp32."""
        return self._score(self.model, "Scoring PyTorch")

    def score(self, session: Session) -> float:
        """The official metric of an exported file."""

        def call(gates: None, **inputs: Tensor) -> Any:
            return SimpleNamespace(logits=torch.from_numpy(session.run(inputs)))

        return self._score(call, "Scoring the file")

    def training_texts(self) -> Encoded | None:
        """Rows to learn from, none of which is scored on or chosen by; None where only a validation file is given."""
        if self.settings.name == "custom" and not (self.settings.data or self.settings.train):
            return None
        return self._encoded(load_task(self.settings, labels=names_of(self.model.config)).train)

    def _score(self, model: Any, title: str) -> float:
        found = outcome(self.task, self.validation, predict_logits(model, self.validation, title=title))
        return found.scores[self.task.metrics[0]]

    def _encoded(self, examples: Examples) -> Encoded:
        return encode(
            self.task,
            examples,
            self.tokenizer,
            **cuts_of(self.settings, self.tokenizer, self.model.config.max_tokens)._asdict(),
        )
