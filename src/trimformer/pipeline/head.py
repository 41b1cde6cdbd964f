"""How the checkpoint's head meets the data: whether it was made for their labels, and trained."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence

import numpy as np
import torch
from sklearn.metrics import matthews_corrcoef, roc_auc_score
from torch import nn

from ..encoder.checkpoints.load import Checkpoint, build, head_labels, with_labels
from ..encoder.model.heads import IGNORED, Kind, TrimformerForSequenceClassification, TrimformerWithHead
from ..encoder.shape.config import TrimformerConfig
from ..encoder.shape.embedding import EmbeddingShape
from ..errors import TrimformerError
from ..recipe.settings import Recipe
from ..tasks.data import Task, TaskData
from ..tasks.encoding.encoded import Encoded
from ..tasks.kinds import KINDS
from ..tasks.kinds.texts import ONE_OUTPUT
from ..tasks.labels import is_score_of_one, nameless, shown, taken_for
from ..tasks.outcome import outcome
from ..tasks.sources.unlabelled import texts_alone
from ..tasks.task import with_label_order
from ..training.evaluate import predict_logits

SCORED_ROWS = 256
NEAR_CHANCE = 0.2
"""Matthews' correlation of a head that was trained for other data; on few rows chance alone gives more."""


def as_asked(recipe: Recipe, checkpoint: Checkpoint) -> tuple[Checkpoint, list[str]]:
    """The checkpoint as an embedding model where one is asked for, and a sentence where the data alone say so.

    A sentence-transformers folder is one with texts that have no labels, and a bare encoder with all other data.
    """
    if recipe.task.kind == "embedding":
        return checkpoint.as_embedding(), []
    if recipe.task.kind == "ranking":
        return _as_ranking(checkpoint), []
    if recipe.task.kind != "auto" or checkpoint.head is not None or not texts_alone(recipe.task):
        return checkpoint, []
    if recipe.baseline is not None or not checkpoint.pools:
        return checkpoint, []
    said = f"{recipe.model} makes vectors of texts and the texts have no labels: it was taken as an embedding model."
    return checkpoint.as_embedding(), [said]


def with_dims(recipe: Recipe, checkpoint: Checkpoint) -> Checkpoint:
    """The checkpoint, which also says at which shorter lengths its vectors are to be distilled, and so are scored."""
    config, objectives = checkpoint.config, [stage.objective for stage in recipe.stages]
    named = [dim for one in objectives for term in one.terms for dim in term.lengths(one, config)]
    if config.embedding is None or not named:
        return checkpoint
    shape = EmbeddingShape.read(config.embedding)
    dims = tuple(sorted({*shape.dims, *named}, reverse=True))
    changed = config.to_dict() | {"embedding": dataclasses.replace(shape, dims=dims).to_dict()}
    return dataclasses.replace(checkpoint, config=TrimformerConfig.from_dict(changed))


def match_head(checkpoint: Checkpoint, data: TaskData) -> tuple[Checkpoint, TaskData, bool, list[str]]:
    """Whether the checkpoint's head was made for these labels; the data then follow the head's label order.

    A head without label names (LABEL_0, …) takes the names of the data, by number, and a note says so. Not all classes
    of a head need be in the data, by name or by id.
    """
    if checkpoint.head is None:
        return checkpoint, data, False, []
    checkpoint, notes = _read_as(checkpoint, data.task)
    kind = data.task.kind
    names, labels = checkpoint.config.label_names, head_labels(data.task.labels, kind)
    some_ids = kind == "classification" and _are_some_ids(labels, names)
    some_names = len(labels) < len(names) and {name.casefold() for name in labels} <= {
        name.casefold() for name in names
    }
    # Tags are matched one by one: a tagger may know more of them than occur here.
    if checkpoint.kind == kind and (kind == "tokens" or some_ids or some_names or len(names) == len(labels)):
        if not KINDS[kind].named:
            return checkpoint, data, True, notes
        # Nobody knows the order of nameless tags.
        if kind != "tokens" and nameless(names) and not set(names).issuperset(labels):
            labels = [str(i) for i in range(len(names))] if some_ids else labels
            named = dataclasses.replace(checkpoint, config=with_labels(checkpoint.config, labels, kind))
            return named, with_label_order(data, labels), True, [*notes, taken_for(labels)]
        try:
            return checkpoint, with_label_order(data, names), True, notes
        except TrimformerError:
            pass  # other labels: the note says so
    has = f"knows {shown(names)}, the data have {shown(labels)}"
    if checkpoint.kind != kind:
        has = f"was made for {checkpoint.kind}, the task is {kind}"
    note = f"The checkpoint's head {has}: the head was replaced and the dense model fine-tuned first."
    return checkpoint, data, False, [note]


def _are_some_ids(labels: Sequence[str], names: Sequence[str]) -> bool:
    """Whether the labels are ids of some outputs: ids that are their names, or those of the first and the last too."""
    if len(labels) >= len(names) or not all(re.fullmatch("[0-9]+", label) for label in labels):
        return False
    ids = {int(label) for label in labels}
    return set(labels) <= set(names) or (min(ids) == 0 and max(ids) == len(names) - 1)


def why_train(model: nn.Module, task: Task, rows: Encoded) -> str | None:
    """What shows on these rows that a head of the right form was not trained for them; None where it was.

    Raises TrimformerError where the weights are damaged.
    """
    if task.kind == "embedding":
        return None  # vectors need no training for the data at hand
    logits = predict_logits(model, rows)
    if not np.isfinite(logits).all():
        raise TrimformerError(
            "The checkpoint's outputs are not all finite numbers, so that its weights are damaged: take another copy."
        )
    if task.kind == "regression":
        truth = rows.labels.astype(np.float64)
        error = float(np.mean((logits[:, 0] - truth) ** 2))
        if error < np.var(truth):
            return None
        return (
            f"is further from the labels (by {np.sqrt(error):.3g}, root mean square) than their mean is "
            f"({np.std(truth):.3g})"
        )
    if task.kind == "ranking":
        return _why_train_to_rank(logits[:, 0], rows.labels > 0.5)
    if task.kind == "spans":
        found = outcome(task, rows, logits).scores["f1"]
        return None if found >= NEAR_CHANCE else f"finds answers with an F1 of {found:.2f} only"
    truth, predicted = _decisions(task.kind, rows, logits)
    found, count = float(matthews_corrcoef(truth, predicted)), len(truth)
    known = max(NEAR_CHANCE, min(0.5, 2 / np.sqrt(count)))
    if found >= known:
        return None
    if found <= -known:
        return (
            f"contradicts the labels (Matthews correlation {found:.2f}), as if its outputs stood in another order: "
            "write their names into id2label of its config.json"
        )
    return f"decides about as by chance (Matthews correlation {found:.2f}, 0 is chance)"


def _why_train_to_rank(scores: np.ndarray, relevant: np.ndarray) -> str | None:
    """As of a correlation: 1 where all that is relevant is above all else (Somers' D). The scores need no zero."""
    if relevant.all() or not relevant.any():
        return None
    found = 2 * float(roc_auc_score(relevant, scores)) - 1
    return None if found >= NEAR_CHANCE else f"puts what is relevant hardly above the rest (Somers' D {found:.2f})"


def read_for(model: TrimformerWithHead, task: Task) -> TrimformerWithHead:
    """The model to score, made anew where its one output is the score of 1 against 0."""
    if task.kind not in ("classification", "ranking"):  # one label was trained, where a run would train several
        return model
    checkpoint = Checkpoint(model.config, model.state_dict(), type(model), "the model")
    other, _ = _read_as(checkpoint, task)
    if other is checkpoint:
        return model
    read = build(other)
    assert isinstance(read, TrimformerWithHead)
    return read


def _decisions(kind: Kind, rows: Encoded, logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(truth, predicted), one entry for each decision."""
    if kind == "multilabel":
        return rows.labels.ravel() > 0, logits.ravel() > 0
    labelled = rows.labels != IGNORED
    return rows.labels[labelled], logits.argmax(1)[labelled]


def _read_as(checkpoint: Checkpoint, task: Task) -> tuple[Checkpoint, list[str]]:
    """A head that does not say what it answers, read as the data need it: several labels, or yes and no of one output.

    One logit z that is trained with binary cross-entropy decides as the softmax of 0 and z does, with the same loss.
    """
    config = checkpoint.config
    if checkpoint.head is not TrimformerForSequenceClassification or config.problem_type is not None:
        return checkpoint, []
    if task.kind == "ranking":
        return _as_ranking(checkpoint), []
    if task.kind == "multilabel" and len(config.label_names) == len(task.labels):
        named = with_labels(config, config.label_names, "multilabel")
        return dataclasses.replace(checkpoint, config=named), []
    if task.kind == "classification" and is_score_of_one(config.label_names, task.labels):
        output = {name: weight for name, weight in checkpoint.weights.items() if name.startswith("head.output.")}
        doubled = {name: torch.cat([torch.zeros_like(weight), weight]) for name, weight in output.items()}
        named = with_labels(config, task.labels, "classification")
        return dataclasses.replace(checkpoint, config=named, weights=checkpoint.weights | doubled), [ONE_OUTPUT]
    return checkpoint, []


def _as_ranking(checkpoint: Checkpoint) -> Checkpoint:
    """A stock reranker has one output and does not say what it is: its only logit is the score."""
    config, head = checkpoint.config, checkpoint.head
    if head is not TrimformerForSequenceClassification or head.kind_under(config) != "regression":
        return checkpoint
    return dataclasses.replace(checkpoint, config=with_labels(config, (), "ranking"))
