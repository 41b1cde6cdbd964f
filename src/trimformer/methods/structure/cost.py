"""What layers cost while methods choose between them: operations, weights or milliseconds.

Embeddings and head, which no method removes, are not counted.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from ...cores import usable_cores
from ...encoder.shape.config import TrimformerConfig
from ...encoder.shape.gates import Gates
from ...encoder.shape.points import POINTS
from ...errors import TrimformerError
from ...measure.bench.variants import STOCK, available_backends
from ...measure.cost import Kinds, expected_flops, expected_params
from ...measure.device.pieces import latency_tables
from ...measure.device.table import LatencyTable
from ..base import Context, MethodSettings

BYTES = 4
"""Of a weight in fp32."""


class CostSettings(MethodSettings):
    """What is to become less, for methods that weigh it against the loss."""

    cost: Literal["flops", "params", "ms"] = Field(
        "flops", description="operations for a text, weights, or milliseconds of a batch on this machine; of the layers"
    )
    length: int | None = Field(None, ge=1, description="tokens of a text; none: the mean of the training texts")
    batch: int = Field(1, ge=1, description="texts in that batch")
    backend: str = Field("onnx", description="what runs that batch")


def check_cost(settings: CostSettings, config: TrimformerConfig) -> None:
    """Raise TrimformerError where no milliseconds of layers can be measured here as the settings ask for."""
    if settings.cost != "ms":
        return
    fewer = any(shape.tokens is not None for shape in config.shapes)
    if fewer or config.split_layers:
        what = "hand on fewer tokens than they are given" if fewer else "see each text of a pair by itself"
        raise TrimformerError(
            f"Layers of this model {what}, and milliseconds are those of layers that see all tokens of a row: set cost "
            "to flops or params."
        )
    known = [name for name in available_backends() if name not in STOCK]
    if settings.backend not in known:
        raise TrimformerError(f"Backend {settings.backend!r} cannot be timed here: use one of {', '.join(known)}.")
    if settings.length is not None and settings.length > config.max_tokens:
        raise TrimformerError(f"length: the model takes at most {config.max_tokens} tokens, not {settings.length}.")


class ExpectedCost:
    """The expected cost of the layers where gates are kept with these probabilities, independently; on the CPU.

    The table of milliseconds is measured, unless the user's cache has it. It belongs to the state, so that a run which
    is resumed goes on with the same.
    """

    def __init__(self, settings: CostSettings, context: Context) -> None:
        self.what: str = settings.cost
        self.config = context.model.config
        self.length = settings.length or round(float(context.train.lengths.mean()))
        self.table: LatencyTable | None = None
        if settings.cost == "ms":
            with context.accelerator.main_process_first():  # the others find it in the cache
                (self.table,) = latency_tables(
                    context.model, batch=[settings.batch], length=[self.length], threads=usable_cores(),
                    backends=[settings.backend],
                )  # fmt: skip
        self.dense = self(Gates())

    def __call__(self, gates: Gates, kinds: Kinds | None = None) -> Tensor:
        """kinds: of attention that the layers may have, in place of their own."""
        if self.table is not None:
            return _milliseconds(self.table, self.config, gates, kinds)
        if self.what == "flops":
            return expected_flops(self.config, self.length, gates, kinds)
        return expected_params(self.config, gates, kinds) * (BYTES if self.what == "bytes" else 1)

    def __str__(self) -> str:
        """What is counted, for people."""
        if self.table is not None:
            return f"milliseconds ({self.table.backend}, batch {self.table.batch}, {self.length} tokens)"
        named = {"flops": f"operations at {self.length} tokens", "params": "weights"}
        return named.get(self.what, self.what)

    def share(self, gates: Gates, kinds: Kinds | None = None) -> Tensor:
        """The cost as a share of that of the dense layers."""
        return self(gates, kinds) / self.dense

    def state_dict(self) -> dict[str, Any]:
        return {"table": None if self.table is None else dataclasses.asdict(self.table)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if state["table"] is not None:
            self.table = LatencyTable(**state["table"])
            self.dense = self(Gates())


def _milliseconds(table: LatencyTable, config: TrimformerConfig, gates: Gates, kinds: Kinds | None) -> Tensor:
    given = {"heads": gates.heads, "ffn": gates.ffn, "inputs": gates.inputs}
    if unknown := [name for name in POINTS if name not in (*given, "attention") and getattr(gates, name) is not None]:
        raise TrimformerError(
            f"The table of this device has no times for gates of {unknown[0]}: count flops or params instead of ms."
        )
    sizes = {name: torch.stack([own.sum() for own in parts]) for name, parts in given.items() if parts is not None}
    whole = table.expected(config, attention=gates.attention, removed=gates.removed, kinds=kinds, **sizes)
    return (whole - table.predict([])).float()
