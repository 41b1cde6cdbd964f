"""What a saved model answers: the kinds of task, and how config.json says which of them it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Literal

Kind = Literal["classification", "multilabel", "regression", "ranking", "tokens", "spans", "embedding", "masked-lm"]
"""What is predicted: one or several labels, a number, a relevance or a vector per text; a label per word; a span of
a context; the tokens that were masked."""

HEADS: Mapping[str, tuple[Kind, ...]] = MappingProxyType(
    {
        "ForSequenceClassification": ("classification", "multilabel", "regression", "ranking"),
        "ForTokenClassification": ("tokens",),
        "ForQuestionAnswering": ("spans",),
        "ForEmbedding": ("embedding",),
        "ForMaskedLM": ("masked-lm",),
    }
)
"""The kinds that a model class answers, by how its name ends."""
OWN = "Trimformer"
"""How the names of the model classes of this package begin."""

IGNORED = -100
"""The label of a token or a row that has none, as in torch's cross-entropy."""
PROBLEM_TYPES: dict[Kind, str] = {
    "classification": "single_label_classification",
    "multilabel": "multi_label_classification",
    "regression": "regression",
    "ranking": "multi_label_classification",
}
"""What transformers calls the kinds of a head for whole texts."""
RELEVANCE = "relevance"
"""The name of a reranker's only output, which tells it from a model of several labels: both have the same loss."""


def head_of(architecture: str) -> str | None:
    """How the name of a model class ends, where it has a head for a task; None where it has none.

    The masked-LM head of a stock checkpoint is what pre-training left: it counts only where it is asked for.
    """
    if architecture.endswith("ForMaskedLM") and architecture != f"{OWN}ForMaskedLM":
        return None
    return next((head for head in HEADS if architecture.endswith(head)), None)


def kind_of_texts(problem_type: str | None, labels: Sequence[str]) -> Kind:
    """The kind of a head for whole texts. One output without a problem type is a number, as everywhere in transformers.

    labels: the names of its outputs.
    """
    if problem_type is None and len(labels) == 1:
        return "regression"
    if problem_type == PROBLEM_TYPES["ranking"] and list(labels) == [RELEVANCE]:
        return "ranking"
    by_type = {name: kind for kind, name in PROBLEM_TYPES.items() if kind != "ranking"}
    return by_type.get(problem_type or "", "classification")


def kind_of_head(head: str, problem_type: str | None, labels: Sequence[str]) -> Kind:
    """The kind that a head of ``HEADS`` answers under these values of config.json."""
    kinds = HEADS[head]
    return kinds[0] if len(kinds) == 1 else kind_of_texts(problem_type, labels)
