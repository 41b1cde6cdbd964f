"""A tiny task and the context of a stage, for tests that train."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from tests.models import tiny
from trimformer import trim
from trimformer.encoder.checkpoints.load import with_labels
from trimformer.encoder.model.heads import IGNORED, head_class
from trimformer.methods import METHODS, Context
from trimformer.tasks.data import Examples, GoldAnswer, Task
from trimformer.tasks.encoding.encoded import Encoded
from trimformer.tasks.plain_text.masking import Masking
from trimformer.tasks.plain_text.rows import masked_rows
from trimformer.tasks.plain_text.store import Stored
from trimformer.training.loop import total_steps
from trimformer.training.settings import ObjectiveSettings, TrainingSettings
from trimformer.training.terms.base import TERMS

LABELS = {"classification": ("a", "b"), "multilabel": ("a", "b"), "tokens": ("a", "b")}
METRICS = {
    "regression": ("pearson",),
    "spans": ("f1", "exact_match"),
    "multilabel": ("f1_micro", "f1_macro", "accuracy"),
    "embedding": ("neighbours", "cosine"),
    "masked-lm": ("accuracy", "loss"),
}
MASKING = Masking(0.15, 1, np.arange(50) < 3, np.arange(3, 50))


def every_term(**others: Any) -> dict[str, Any]:
    """Settings of an objective in which every term that all kinds of task have has a weight."""
    return {name: 1.0 for name, term in TERMS.items() if not term.kinds} | others


def toy_task(kind: Any = "classification") -> Task:
    return Task("toy", kind, LABELS.get(kind, ()), METRICS.get(kind, ("accuracy",)), "made in the test")


def toy_data(rows: int, seed: int = 0, kind: Any = "classification") -> Encoded:
    """Rows of 5 to 12 tokens; the label says whether, or where, token 7 occurs."""
    rng = np.random.default_rng(seed)
    texts, places = [], []
    labels = np.arange(rows) % 2
    for label in labels:
        ids = rng.integers(8, 50, rng.integers(4, 12))
        place = rng.integers(len(ids))
        if label:
            ids[place] = 7
        texts.append(np.concatenate([[2], ids]))
        places.append(1 + place if label else 0)
    offsets = np.concatenate([[0], np.cumsum([len(text) for text in texts])])
    ids = np.concatenate(texts).astype(np.int32)
    if kind == "masked-lm":
        stored = Stored(ids, offsets[1:], np.arange(rows, dtype=np.uint64), np.zeros(1), rows, len(ids), 0)
        return masked_rows(stored, np.arange(rows), MASKING, 0, 12, held=seed != 1)
    inside = np.concatenate([np.arange(-1, len(text) - 1) for text in texts]).astype(np.int32)
    values: dict[str, Any] = {
        "classification": labels.astype(np.int64),
        "regression": labels.astype(np.float32),
        "ranking": labels.astype(np.float32),
        "multilabel": np.stack([labels, 1 - labels], 1).astype(np.float32),
        "tokens": np.where(inside < 0, IGNORED, ids == 7).astype(np.int64),
        "spans": np.stack([places, places], 1).astype(np.int64),
        "embedding": np.where(labels[:, None] == 1, np.eye(16)[0], np.eye(16)[1]).astype(np.float32),
    }
    contexts = ["x" * 12 for _ in texts]
    answers: dict[str, list[Any]] = {
        "tokens": [tuple((text[1:] == 7).astype(int).tolist()) for text in texts],
        "spans": [(GoldAnswer("x", max(0, place - 1)),) for place in places],
    }
    # Of tokens a score counts the words.
    shown: list[Any] = [("x",) * (len(text) - 1) if kind == "tokens" else "" for text in texts]
    examples = Examples(shown, contexts, answers.get(kind, values[kind].tolist()))
    return Encoded(
        ids, None, offsets, values[kind], 0, 0, kind, examples,
        words=inside if kind == "tokens" else None,
        owners=np.arange(rows) if kind == "spans" else None,
        chars=np.stack([inside, np.where(inside < 0, -1, inside + 1)], 1) if kind == "spans" else None,
    )  # fmt: skip


def toy_tokenizer() -> PreTrainedTokenizerFast:
    """A word for each id of the toy data."""
    vocabulary = {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2} | {f"word{i}": i for i in range(3, 50)}
    inner = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    return PreTrainedTokenizerFast(tokenizer_object=inner, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]")


def context(
    *,
    rows: int = 48,
    layers: int = 3,
    seed: int = 0,
    kind: Any = "classification",
    family: str = "bert",
    attention: dict[int, str] | None = None,
    objective: dict[str, Any] | None = None,
    teacher: dict[str, Any] | None = None,
    folder: Path | None = None,
    **training: Any,
) -> Context:
    """A stage over the toy task from a tiny random model; ``teacher``: how a dense teacher differs from it."""
    train, selection = toy_data(rows, seed=1, kind=kind), toy_data(24, seed=2, kind=kind)
    settings = TrainingSettings(**({"epochs": 1, "batch_size": 8, "learning_rate": 1e-3} | training))
    wanted = ObjectiveSettings(**(objective or {}))
    taught = wanted.needs_teacher or teacher is not None

    def model(attention: dict[int, str] | None, **others: Any) -> Any:
        options = {"layers": layers, "family": family, "labels": 2, "seed": seed} | others
        body = trim(tiny(**options), attention=attention or {})
        if kind == "classification":
            return body
        torch.manual_seed(seed)
        if kind == "masked-lm":
            return head_class(kind)(body.config).eval()
        return head_class(kind)(with_labels(body.config, LABELS.get(kind, ()), kind)).eval()

    return Context(
        model=model(attention),
        teacher=model(attention if teacher is None else None, **teacher or {}) if taught else None,
        task=toy_task(kind),
        train=train,
        selection=selection,
        training=settings,
        objective=wanted,
        accelerator=Accelerator(mixed_precision="no", cpu=True),
        seed=seed,
        steps=total_steps(len(train), settings),
        folder=folder,
        tokenizer=toy_tokenizer(),
    )


def make_method(name: str, stage: Context, **settings: Any) -> Any:
    """A method by name, seeded."""
    torch.manual_seed(stage.seed)
    return METHODS[name](METHODS[name].Settings(**settings), stage)


def batches(stage: Context, count: int) -> list[dict[str, torch.Tensor]]:
    """Some training batches."""
    size = stage.training.batch_size
    return [stage.train.batch(range(i * size, (i + 1) * size)) for i in range(count)]
