"""Export to ONNX: fp32 and int8, dynamic batch and length, checked against PyTorch on the way."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from ..encoder import TrimformerConfig, TrimformerForQuestionAnswering, TrimformerModel, TrimformerWithHead
from ..errors import TrimformerError
from ..files import atomic_file, explain_write_errors
from .fold import FoldedEncoder
from .session import INPUTS, open_session, require_onnx, run_session

# From 20 on, LayerNormalization (17) and exact Gelu (20) are single operators with fast kernels.
OPSET = 20
MAX_FP32_ERROR = 1e-4
MAX_BYTES = 2**31  # of a protobuf message
FILES: dict[str, str] = {"fp32": "model.onnx", "int8": "model.int8.onnx"}
WORD_TABLE = "embeddings.word.weight"
CHECK_SHAPES = ((1, 5), (3, 40), (32, 16), (8, 64))  # (batch, length)

Model = TrimformerModel | TrimformerWithHead


@dataclasses.dataclass(frozen=True)
class ExportedFile:
    """One exported file and how far it is from the PyTorch model.

    bytes: size on disk. max_abs_error: largest difference of a logit (of a hidden state, for a bare body) over padded
        batches of random tokens of several shapes. Random tokens are a harder test than text: measure the score on
        your own data.
    label_agreement: share of these inputs with the same arg-max label; None where there are no labels.
    largest_output: largest absolute output on these inputs.
    """

    path: Path
    precision: Literal["fp32", "int8"]
    bytes: int
    max_abs_error: float
    label_agreement: float | None
    largest_output: float


def export(
    model: Model,
    folder: str | Path,
    to: str = "onnx",
    int8: bool = True,
    tokenizer: PreTrainedTokenizerBase | None = None,
) -> list[ExportedFile]:
    """Write ``model.onnx`` and, with ``int8``, ``model.int8.onnx`` into ``folder``; the model is not changed.

    Inputs input_ids, attention_mask, token_type_ids: int64 (batch, n), all three always given. Output
    ``logits`` (batch, labels), for tokens (batch, n, labels), for spans (batch, n, 2: start and end), or
    ``last_hidden_state`` (batch, n, hidden) of a bare body. With a tokenizer
    its files and config.json go into the folder too, so that the folder can be used alone.

    Raises TrimformerError where the ``onnx`` extra is missing, the folder cannot be written, or the fp32 file differs
    from PyTorch by more than 1e-4 (of the largest output, where that is above 1); then no file of that name is left.
    """
    if to != "onnx":
        raise TrimformerError(f"Cannot export to {to!r}: the only format is 'onnx'.")
    require_onnx()
    folder = Path(folder)
    with explain_write_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    plain = copy.deepcopy(model).cpu().float().eval()
    exported = []
    with atomic_file(folder / FILES["fp32"]) as path:
        _write_fp32(plain, path)
        exported.append(_checked(plain, path, "fp32"))
        allowed = MAX_FP32_ERROR * max(1.0, exported[0].largest_output)
        if not exported[0].max_abs_error <= allowed:  # a NaN is no parity either
            raise TrimformerError(
                f"The exported graph differs from PyTorch by {exported[0].max_abs_error:.1e} (allowed "
                f"{allowed:.0e}), so it was not kept: report this "
                "with your versions of torch and onnxruntime."
            )
    if int8:
        with atomic_file(folder / FILES["int8"]) as path:
            quantize(folder / FILES["fp32"], path)
            exported.append(_checked(plain, path, "int8"))
    if tokenizer is not None:
        with explain_write_errors(folder):
            tokenizer.save_pretrained(folder)
            # Only a saved model names its class, which says what the outputs mean.
            config = copy.deepcopy(model.config)
            config.architectures = [type(model).__name__]
            config.save_pretrained(folder)
    return [dataclasses.replace(file, path=folder / FILES[file.precision]) for file in exported]


def quantize(source: Path, target: Path) -> None:
    """Quantize an exported fp32 file: int8 weights (one scale for each output unit), activations at run time.

    Signed weights use the fast kernels of CPUs with VNNI; a scale for each unit costs no time and halves the
    error or better. The word table is int8 too: it is most of a small encoder's bytes. The small position and
    segment tables stay fp32, because their few large rows would set the scale of all.
    """
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    model = onnx.load(str(source))
    _transpose_shared(model.graph)
    dimensions = {weight.name: len(weight.dims) for weight in model.graph.initializer}
    excluded = [
        node.name
        for node in model.graph.node
        if (node.op_type == "Gather" and WORD_TABLE not in node.input)
        # The runtime has no scales by unit for a stack of matrices, such as DeBERTa's position keys of all heads.
        or (node.op_type == "MatMul" and dimensions.get(node.input[1], 0) > 2)
    ]
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)  # the quantizer advises a pre-processing that this graph does not need
    try:
        quantize_dynamic(
            model,
            target,
            op_types_to_quantize=["MatMul", "Gemm", "Gather"],
            per_channel=True,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=excluded,
            extra_options={"MatMulConstBOnly": True},
        )
    finally:
        root.setLevel(level)


def _transpose_shared(graph: Any) -> None:
    """Transpose weights that several Gemms read, as layers that share them do.

    The quantizer wants weights that are not to be transposed. It turns them itself, once for each Gemm that reads
    them, as if no other did.
    """
    from onnx import numpy_helper

    readers: dict[str, list[Any]] = {}
    for node in graph.node:
        if node.op_type == "Gemm" and any(a.name == "transB" and a.i == 1 for a in node.attribute):
            readers.setdefault(node.input[1], []).append(node)
    for weight in graph.initializer:
        shared = readers.get(weight.name, [])
        if len(shared) > 1:
            weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight).T.copy(), weight.name))
            for node in shared:
                next(a for a in node.attribute if a.name == "transB").i = 0


def _write_fp32(model: Model, path: Path) -> None:
    import onnx

    size = sum(weight.nbytes for weight in model.parameters())
    if size >= MAX_BYTES:
        raise TrimformerError(
            f"An ONNX file holds less than 2 GiB, but these weights are {size / 2**30:.1f} GiB in fp32."
        )
    batch, length = torch.export.Dim("batch"), torch.export.Dim("length")
    output = "logits" if isinstance(model, TrimformerWithHead) else "last_hidden_state"
    example = random_inputs(model.config, 2, min(16, model.config.max_tokens))
    with _quiet_exporter():
        program = torch.onnx.export(
            FoldedEncoder(model),
            tuple(example[name] for name in INPUTS),
            dynamo=True,
            verbose=False,
            opset_version=OPSET,
            input_names=list(INPUTS),
            output_names=[output],
            dynamic_shapes=[{0: batch, 1: length}] * len(INPUTS),
        )
    if program is None:
        raise TrimformerError("The exporter of this torch gave no graph: upgrade torch to 2.8 or newer.")
    graph: Any = program.model_proto
    # The exporter leaves stale shapes of intermediate values behind, on which the quantizer's shape inference
    # fails.
    del graph.graph.value_info[:]
    onnx.save(graph, str(path))


@contextlib.contextmanager
def _quiet_exporter() -> Iterator[None]:
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


def _checked(model: Model, path: Path, precision: Literal["fp32", "int8"]) -> ExportedFile:
    """Compare a file with PyTorch on padded batches of several shapes."""
    session = open_session(path)
    has_labels = isinstance(model, TrimformerWithHead) and len(model.config.id2label or ()) > 1
    spans = isinstance(model, TrimformerForQuestionAnswering)
    errors, same, largest = [], [], 0.0
    for seed, (batch, length) in enumerate(CHECK_SHAPES):
        length = min(length, model.config.max_tokens)
        inputs = random_inputs(model.config, batch, length, padded=True, seed=seed)
        with torch.inference_mode():
            out = model(**inputs)
        expected, got = _values(out), torch.from_numpy(run_session(session, inputs))
        real = inputs["attention_mask"].bool()
        if spans:  # the most probable first and last token stand for the label
            ends = (values.masked_fill(~real[..., None], -torch.inf).argmax(1).flatten() for values in (expected, got))
            same += torch.eq(*ends).tolist()
        if expected.ndim == 3:
            expected, got = expected[real], got[real]
        errors.append(float((expected - got).abs().max()))
        largest = max(largest, float(expected.abs().max()))
        if not spans:
            same += (expected.argmax(-1) == got.argmax(-1)).tolist()
    agreement = float(np.mean(same)) if has_labels else None
    # np.max keeps a NaN, which max() may lose
    return ExportedFile(path, precision, path.stat().st_size, float(np.max(errors)), agreement, largest)


def _values(output: Any) -> Tensor:
    values: Tensor = output.logits if hasattr(output, "logits") else output.last_hidden_state
    return values
