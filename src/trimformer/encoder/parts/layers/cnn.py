"""Operations over neighbouring tokens, and cells of them: the layer of a convolutional student.

The operations are those that AdaBERT's search chooses from (Chen et al., 2020): plain and dilated convolutions,
pooling, and nothing; its zero is an operation that is not there. A cell has nodes, each of which is the sum of what
operations give that read the layer's input or nodes before it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.activations import ACT2FN

from ....errors import TrimformerError
from ...shape.config import LayerShape, TrimformerConfig
from ...shape.gates import LayerGates, hard_value
from ...shape.kinds import LAYERS
from ..attention.base import Times
from ..axes import Axes, Axis, values_of
from ..components import OWN, Component
from ..linear.base import Number
from ..norms import layer_norm
from ..sizes import Inside, Sizes
from ..tokens import Tokens
from .base import NOTHING_TO_LOSE, ExportedReader, Layer

KERNELS = (3, 5, 7)
CONVOLUTIONS = {f"conv{kernel}": (kernel, 1) for kernel in KERNELS} | {f"dilated{k}": (k, 2) for k in KERNELS}
"""The tokens under each convolution, and how far they are from one another."""
POOLS = ("avg-pool", "max-pool")
"""Over a token and its two neighbours."""
SKIP = "skip"
OPERATIONS = (*CONVOLUTIONS, *POOLS, SKIP)


class Read(NamedTuple):
    """That a node, numbered from 1, reads what an operation makes of an earlier one; 0 is the layer's input."""

    node: int
    operation: str
    of: int


def cnn_shape(operation: str) -> LayerShape:
    """The shape of a layer with this operation."""
    return LayerShape("none", 1, 1, 0, cell={"operation": operation})


def cell_shape(nodes: Sequence[Sequence[tuple[str, int]]]) -> LayerShape:
    """The shape of a cell: for each node its operations, each with the node that it reads, 0: the layer's input."""
    return LayerShape("none", 1, 1, 0, cell={"nodes": [[list(read) for read in node] for node in nodes]})


def reads_of(shape: LayerShape) -> list[Read]:
    """What is read in a layer, node by node; nothing where it is ``skip`` alone."""
    if "nodes" in shape.cell:
        return [Read(number, *read) for number, node in enumerate(shape.cell["nodes"], 1) for read in node]
    return [] if shape.cell["operation"] == SKIP else [Read(1, shape.cell["operation"], 0)]


class Operation(nn.Module):
    """One operation: (batch, n, hidden) and 1 for each real token, (batch, n, 1) -> (batch, n, hidden)."""

    axes: ClassVar[dict[str, Axes]] = {"conv": (None,)}

    def __init__(self, config: TrimformerConfig, name: str) -> None:
        super().__init__()
        self.name = name
        if name in CONVOLUTIONS:
            kernel, step = CONVOLUTIONS[name]
            # Seen as an image one pixel high, whose channels lie side by side, it meets the fast kernels.
            size, reach = (1, kernel), (0, step * (kernel // 2))
            self.conv = nn.Conv2d(config.hidden_size, config.hidden_size, size, padding=reach, dilation=(1, step))
            self.activation = ACT2FN[config.hidden_act]

    def forward(self, x: Tensor, real: Tensor) -> Tensor:
        if self.name == SKIP:
            return x
        if self.name in CONVOLUTIONS:
            image = (x * real).transpose(1, 2)[:, :, None]
            mixed: Tensor = self.activation(self.conv(image)[:, :, 0].transpose(1, 2))
            return mixed
        if self.name == "max-pool":
            lowest = torch.finfo(x.dtype).min
            around = _neighbours(x.masked_fill(real == 0, lowest), lowest)
            return torch.stack(around).amax(0) * real  # a place of padding alone has no largest value
        sums, counts = (torch.stack(_neighbours(y, 0.0)).sum(0) for y in (x * real, real))
        found: Tensor = sums / counts.clamp(min=1)
        return found


@LAYERS.add("cnn")
class CnnLayer(Layer):
    """LN(x + the sum of the nodes); with one operation it is the only node, and ``skip`` alone leaves x as it is.

    A convolution has an activation behind it.
    """

    kind = "cnn"
    about = "operations over neighbouring tokens, one or a cell of them: convolutions, pools or nothing"
    mixes = True
    keeps = {point: why for point, why in NOTHING_TO_LOSE.items() if point != "operations"} | {
        "hidden": "its convolutions go from all dimensions to all"
    }
    settings = ("operation", "nodes")
    examples = (
        *map(cnn_shape, ("dilated3", "max-pool", "conv5", "avg-pool", SKIP)),
        cell_shape([[("conv3", 0), ("avg-pool", 0)], [], [("dilated3", 1), (SKIP, 0), ("max-pool", 2)]]),
    )
    axes = {"norm": (None,)}  # noqa: RUF012  (never written to)
    components = {OWN: Component.CONVOLUTION}  # noqa: RUF012  (never written to)

    def __init__(self, config: TrimformerConfig, shape: LayerShape, first: bool = False) -> None:
        super().__init__(config, shape, first)
        self.reads = reads_of(shape)
        self.is_skip = shape.cell.get("operation") == SKIP
        # By name, so that what stays of a cell finds its weights.
        self.operations = nn.ModuleDict({_name(read): Operation(config, read.operation) for read in self.reads})
        self.norm = nn.Identity() if self.is_skip else layer_norm(config)

    def run(self, x: Tensor, tokens: Tokens, gates: LayerGates | None) -> Tensor:
        return tokens.of(self.read(x, tokens.attention_mask, None if gates is None else gates.operations))

    def read(self, x: Tensor, mask: Tensor | None, shares: Tensor | None = None) -> Tensor:
        """(batch, n, hidden) -> the same. mask: (batch, n), 1 = real token; padding counts for nothing. shares: of what
        is read, (operations,)."""
        if self.is_skip:
            return x
        real = (x.new_ones(x.shape[:2]) if mask is None else mask.to(x.dtype))[..., None]
        states, mixed = {0: x}, torch.zeros_like(x)
        for place, (read, operation) in enumerate(zip(self.reads, self.operations.values(), strict=True)):
            share = None if shares is None else shares[place]
            if hard_value(share) == 0:
                continue
            given = operation(states.get(read.of, torch.zeros_like(x)), real)
            given = given if share is None else share.to(x.dtype) * given
            states[read.node] = states[read.node] + given if read.node in states else given
            mixed = mixed + given
        found: Tensor = self.norm(x + self.dropout(mixed))
        return found

    @classmethod
    def check(cls, shape: LayerShape) -> None:
        super().check(shape)
        if len(shape.cell) != 1:
            raise TrimformerError(f"A layer of kind cnn has either an operation or the nodes of a cell, got {shape}.")
        nodes = shape.cell.get("nodes", [[[shape.cell.get("operation"), 0]]])
        for number, node in enumerate(nodes, 1):
            if any(len(read) != 2 or read[0] not in OPERATIONS or read[1] not in range(number) for read in node):
                raise TrimformerError(
                    f"A layer of kind cnn has an operation of {', '.join(OPERATIONS)}, or nodes that are lists of "
                    f"[operation, earlier node], got {shape}."
                )
            if len({tuple(read) for read in node}) < len(node):
                raise TrimformerError(f"A node reads the same twice, got {shape}: name each pair once.")

    @classmethod
    def count_operations(cls, shape: LayerShape) -> int:
        return len(reads_of(shape))

    @classmethod
    def cut(
        cls, config: TrimformerConfig, shape: LayerShape, gates: LayerGates, where: str
    ) -> tuple[LayerShape, dict[str, Axis]]:
        reads = reads_of(shape)
        kept = values_of(gates, "operations", (len(reads),), where)
        if not ((kept == 0) | (kept == 1)).all():
            raise TrimformerError(f"Gates of operations must be hard (0 or 1) to trim, got {kept.tolist()}.")
        if kept.all():
            return shape, {}
        there = [read for read, gate in zip(reads, kept.tolist(), strict=True) if gate]
        count = len(shape.cell.get("nodes", [[]]))
        nodes = [[(read.operation, read.of) for read in there if read.node == node] for node in range(1, count + 1)]
        return cell_shape(nodes), {}

    @classmethod
    def params(cls, config: TrimformerConfig, shape: LayerShape, sizes: Sizes, first: bool) -> dict[str, Number]:
        d = sizes.hidden
        kernels = [kernel for kernel in map(_kernel, reads_of(shape)) if kernel]
        norm = 0 if shape.cell.get("operation") == SKIP else d * (1 + config.norm_bias)
        return {"operation": d * d * sum(kernels) + d * len(kernels) + norm}

    @classmethod
    def flops(
        cls, config: TrimformerConfig, shape: LayerShape, sizes: Sizes, n: int, rows: int, left: Number | None = None
    ) -> Number:
        """2nkd² for a kernel of k; all tokens are computed, whatever is asked for. Pools are not counted."""
        return 2 * n * sum(map(_kernel, reads_of(shape))) * sizes.hidden**2

    @classmethod
    def plain(cls, shape: LayerShape, units: int) -> LayerShape:
        return cnn_shape(SKIP)

    @classmethod
    def knots(
        cls, config: TrimformerConfig, plain: LayerShape, kinds: Sequence[str]
    ) -> Iterator[tuple[str, int, LayerShape]]:
        for operation in OPERATIONS:
            if operation != SKIP:
                yield operation, 0, cnn_shape(operation)

    @classmethod
    def milliseconds(cls, times: Times, shape: LayerShape, inside: Inside, place: str) -> Number:
        """Those of a cell's operations are added up."""
        return sum((times.time(read.operation, 0) for read in reads_of(shape) if read.operation != SKIP), 0.0)

    def exported(self, positions: Any, first_only: bool) -> nn.Module:
        return ExportedReader(self, first_only)


def _name(read: Read) -> str:
    """That of its weights."""
    return f"{read.node}-{read.operation}-{read.of}"


def _kernel(read: Read) -> int:
    """The tokens under its convolution, 0 where it is none."""
    return CONVOLUTIONS.get(read.operation, (0, 0))[0]


def _neighbours(x: Tensor, outside: float) -> list[Tensor]:
    """The states before, at and after each token, (batch, n, …) each. Shifts leave the length open in exported graphs,
    where pools of one dimension fix it."""
    wide = F.pad(x, (0, 0, 1, 1), value=outside)
    return [wide[:, :-2], x, wide[:, 2:]]
