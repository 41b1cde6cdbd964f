"""Run a model over a tokenised split."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..console import Ticker
from ..encoder.model.heads import task_loss
from ..encoder.shape.gates import Gates
from ..tasks.encoding.batches import bucketed_batches
from ..tasks.encoding.couples import whole
from ..tasks.encoding.encoded import Encoded
from ..tasks.kinds import KINDS


def predict_logits(
    model: Callable[..., Any],
    data: Encoded,
    *,
    batch_size: int = 64,
    gates: Gates | None = None,
    title: str = "",
) -> np.ndarray:
    """Logits in the order of the data: (rows, labels), or (tokens, labels) where every token has its own.

    Where a model is asked at some places of each row, what the kind of task keeps of their logits: (places, …).

    A module runs where its weights lie; any other function is given tensors of the CPU. Batches are sorted by length so
    that little is padded; tokens lie end to end as in the data, without padding.
    title: of a progress bar for long work; empty: none.
    """
    if data.kind == "masked-lm":  # the logits of a batch are as many as the vocabulary, for each place
        batch_size = min(batch_size, 16)
    batches = bucketed_batches(data.lengths, batch_size, seed=0, epoch=0, shuffle=False)
    logits: np.ndarray | None = None
    places: list[tuple[list[int], np.ndarray]] = []
    device = device_of(model)
    with torch.no_grad(), evaluating(model), Ticker(title, len(batches), enabled=bool(title)) as tick:
        for indices in batches:
            tick.advance()
            batch = {k: v.to(device) for k, v in data.batch(indices).items()}
            labels, asked = batch.pop("labels"), batch.pop("asked", None)
            if asked is None:
                out: Tensor = model(**batch, gates=gates).logits
            else:
                out = at_places(model, batch, asked, gates)
                places.append((indices, KINDS[data.kind].condensed(out, labels).cpu().numpy()))
                continue
            values = out.float().cpu().numpy()
            if logits is None:
                logits = np.zeros((len(data) if out.ndim == 2 else len(data.ids), out.shape[-1]), dtype=np.float32)
            if out.ndim == 2:
                logits[np.asarray(indices)] = values
                continue
            for row, index in zip(values, indices, strict=True):
                begin, end = data.offsets[index], data.offsets[index + 1]
                logits[begin:end] = row[: end - begin]
    if places:
        return in_order(data.places, places)
    if logits is None:
        raise ValueError("there is nothing to evaluate")
    return logits


class Executed(nn.Module):
    """A model whose texts are counted by the layers that they go through, where it has exits.

    counts: of the texts so far that went through 1, 2, … layers; None: the model has no exits.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        self.train(model.training)
        self.counts = [0] * model.config.num_hidden_layers if model.config.exits is not None else None

    def forward(self, **batch: Any) -> Any:
        out = self.model(**batch)
        if self.counts is not None:
            for layers in out.executed.tolist():
                self.counts[layers - 1] += 1
        return out


def at_places(model: Callable[..., Any], batch: dict[str, Tensor], asked: Tensor, gates: Gates | None) -> Tensor:
    """Logits at the places of a batch that are asked for; a file answers at all of them."""
    if isinstance(model, nn.Module):
        found: Tensor = model(**batch, asked=asked, gates=gates).logits
        return found
    every: Tensor = model(**batch, gates=gates).logits
    return every[asked]


def in_order(counts: np.ndarray, batches: list[tuple[list[int], np.ndarray]]) -> np.ndarray:
    """The values of places, given batch by batch, in the order of the rows. counts: places of each row."""
    ends = np.cumsum(counts)
    ordered = np.zeros((int(ends[-1]), batches[0][1].shape[-1]), dtype=np.float32)
    for indices, values in batches:
        rows = [np.arange(ends[index] - counts[index], ends[index]) for index in indices]
        ordered[np.concatenate(rows)] = values
    return ordered


def mean_loss(
    model: Callable[..., Any],
    data: Encoded,
    *,
    rows: np.ndarray | None = None,
    batch_size: int = 64,
    gates: Gates | None = None,
) -> float:
    """The task loss over a split, or over some of its rows: a mean over the rows of their batch's loss.

    Of couples both rows are taken where one is named.
    """
    total, device = 0.0, device_of(model)
    rows = np.arange(len(data)) if rows is None else rows
    rows, units = np.unique(rows // 2) if data.couples else rows, whole(data)
    with torch.no_grad(), evaluating(model):
        for indices in bucketed_batches(units.lengths[rows], batch_size, seed=0, epoch=0, shuffle=False):
            batch = {k: v.to(device) for k, v in units.batch(rows[indices].tolist()).items()}
            labels = batch.pop("labels")
            logits = model(**batch, gates=gates).logits
            total += len(indices) * task_loss(data.kind, logits, labels, batch["attention_mask"]).item()
    return total / len(rows)


def fastest_device() -> torch.device:
    """The GPU where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def on_fastest(model: nn.Module) -> nn.Module:
    """The model, moved there."""
    return model.to(fastest_device())


def device_of(model: Callable[..., Any]) -> torch.device:
    """Where the weights of a module lie."""
    return next(model.parameters()).device if isinstance(model, nn.Module) else torch.device("cpu")


class evaluating:
    """Dropout off inside the block, and back to what it was after it."""

    def __init__(self, *models: Any) -> None:
        self.models = [model for model in models if isinstance(model, nn.Module)]

    def __enter__(self) -> None:
        self.before = [model.training for model in self.models]
        for model in self.models:
            model.eval()

    def __exit__(self, *_: object) -> None:
        for model, training in zip(self.models, self.before, strict=True):
            model.train(training)
