"""What is predicted: each kind of task owns its tokens, labels, answers and metrics, in one file."""

from __future__ import annotations

from ...saved.kinds import Kind
from .base import TaskKind
from .classification import Classification
from .embedding import Embedding
from .masked_lm import MaskedLM
from .multilabel import Multilabel
from .ranking import Ranking
from .regression import Regression
from .spans import Spans
from .tokens import Tokens

KINDS: dict[Kind, TaskKind] = {
    kind.name: kind
    for kind in (
        Classification(),
        Multilabel(),
        Regression(),
        Ranking(),
        Tokens(),
        Spans(),
        Embedding(),
        MaskedLM(),
    )
}
"""Every kind by the name that settings, checkpoints and heads use."""

__all__ = ["KINDS", "TaskKind"]
