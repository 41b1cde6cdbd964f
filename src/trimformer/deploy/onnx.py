"""ONNX: the graph in fp32 with dynamic batch and length."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..encoder import TrimformerConfig, TrimformerModel, TrimformerWithHead
from ..encoder.model.exported import exported_pieces
from ..encoder.parts.elimination import eliminates
from ..errors import TrimformerError
from ..inference.runtimes.onnx import require_onnx
from ..inference.runtimes.segments import FEWER_OUTPUTS, SEGMENT_OUTPUTS, files_of, next_inputs
from .quick import open_axes, quickly_traced

# From 20 on, LayerNormalization (17) and exact Gelu (20) are single operators with fast kernels.
OPSET = 20
MAX_BYTES = 2**31  # of a protobuf message

Model = TrimformerModel | TrimformerWithHead


def write_fp32(model: Model, path: Path, quick: bool = False) -> None:
    """Write the ONNX file of an fp32 model in evaluation mode, or those of its segments.

    quick: by :func:`trimformer.deploy.quick.quickly_traced`, for files that are only timed.
    Raises TrimformerError where the ``onnx`` extra is missing or the weights are too large for one file.
    """
    require_onnx()
    size = sum(weight.nbytes for weight in model.parameters())
    if size >= MAX_BYTES:
        raise TrimformerError(
            f"An ONNX file holds less than 2 GiB, but these weights are {size / 2**30:.1f} GiB in fp32."
        )
    output = "logits" if isinstance(model, TrimformerWithHead) else "last_hidden_state"
    pieces = exported_pieces(model)
    fewer = eliminates(model.config)
    quick = quick and not fewer  # that exporter would fix how many tokens are left
    for index, (encoder, file) in enumerate(zip(pieces, files_of(path, len(pieces)), strict=True)):
        outputs = (output,) if index == len(pieces) - 1 else FEWER_OUTPUTS if fewer else SEGMENT_OUTPUTS
        example = partial(_example, pieces[:index], model.config)
        with quiet_exporter():
            graph = _quickly(encoder, example, outputs) if quick else None
            if graph is None:
                graph = traced(encoder, example(2, min(16, model.config.max_tokens)), outputs)
        save(graph, file, encoder)


def save(graph: Any, path: Path, encoder: nn.Module) -> None:
    """Write the graph of an encoder, its weights under their own names."""
    import onnx

    # The exporter leaves stale shapes of intermediate values behind, on which the quantizer's shape inference
    # fails.
    del graph.graph.value_info[:]
    _name_weights(graph.graph, encoder)
    onnx.save(graph, str(path))


def _example(before: Sequence[nn.Module], config: TrimformerConfig, batch: int, length: int) -> dict[str, Tensor]:
    """Random inputs (batch, length) of what comes after these pieces."""
    given = random_inputs(config, batch, length)
    for piece in before:
        with torch.no_grad():
            given = next_inputs(piece(**given), given)
    return given


def traced(encoder: nn.Module, example: dict[str, Tensor], outputs: Sequence[str]) -> Any:
    """The ONNX graph with batch and length left open. example: inputs (batch, n, …) by their names."""
    # The exporter puts an LSTM of any length in the place of torch's own, which is found again where it has run before.
    torch.ops.aten.lstm.input._dispatch_cache.clear()
    sizes = {name: torch.export.Dim(name) for name in ("batch", "length", "text")}
    program = torch.onnx.export(
        encoder,
        tuple(example.values()),
        dynamo=True,
        verbose=False,
        opset_version=OPSET,
        input_names=list(example),
        output_names=list(outputs),
        dynamic_shapes=[
            {axis: sizes[size] for axis, size in open_axes(name, given).items()} for name, given in example.items()
        ],
    )
    if program is None:
        raise TrimformerError("The exporter of this torch gave no graph: upgrade torch to 2.11 or newer.")
    return program.model_proto


def _name_weights(graph: Any, encoder: nn.Module) -> None:
    """Give matrices that the exporter has transposed the names of their weights again, by which they are found."""
    from onnx import numpy_helper

    taken = {weight.name for weight in graph.initializer}
    names: dict[tuple[tuple[int, ...], bytes], list[str]] = {}
    for name, weight in encoder.named_parameters(remove_duplicate=False):
        if weight.ndim == 2 and name not in taken:
            names.setdefault(_key(weight.detach().T.contiguous().numpy()), []).append(name)
    known = dict(encoder.named_parameters(remove_duplicate=False))
    new = {}
    for weight in graph.initializer:
        if len(weight.dims) == 2 and weight.name not in known and names:
            found = names.get(_key(numpy_helper.to_array(weight)))
            if found:
                new[weight.name] = found.pop(0)
                weight.name = new[weight.name]
    for node in graph.node:
        for place, given in enumerate(node.input):
            node.input[place] = new.get(given, given)


def _key(values: np.ndarray) -> tuple[tuple[int, ...], bytes]:
    return values.shape, hashlib.sha256(values.tobytes()).digest()


def _quickly(encoder: nn.Module, inputs: Callable[[int, int], dict[str, Tensor]], outputs: Sequence[str]) -> Any | None:
    """None where the older exporter cannot do it: it knows fewer operators, and a later torch may lack it."""
    with contextlib.suppress(Exception):
        return quickly_traced(encoder, inputs, outputs, OPSET)
    return None


@contextlib.contextmanager
def quiet_exporter() -> Iterator[None]:
    """The exporter warns of packages that an encoder does not use, and of its own deprecations."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        logger.setLevel(level)


def random_inputs(
    config: TrimformerConfig, batch: int, length: int, *, padded: bool = False, seed: int = 0
) -> dict[str, Tensor]:
    """Random token ids, mask and segments, int64 (batch, length); ``padded`` shortens all rows but the first."""
    generator = torch.Generator().manual_seed(seed)
    pad: int = config.pad_token_id or 0
    ids = torch.randint(0, config.vocab_size - 1, (batch, length), generator=generator)
    ids += (ids >= pad).long()  # every id but the padding
    lengths = torch.randint(1, length + 1, (batch,), generator=generator)
    lengths[0] = length
    mask = torch.ones_like(ids)
    if padded:
        mask = (torch.arange(length)[None] < lengths[:, None]).long()
    segments = torch.randint(0, max(1, config.type_vocab_size), (batch, length), generator=generator)
    return {"input_ids": torch.where(mask == 1, ids, pad), "attention_mask": mask, "token_type_ids": segments}
