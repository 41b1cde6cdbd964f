"""ONNX: the graph in fp32 with dynamic batch and length, and how it is run by ONNX Runtime."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..encoder import TrimformerConfig, TrimformerModel, TrimformerWithHead
from ..encoder.model.exported import ExportedEncoder
from ..errors import TrimformerError
from .session import INPUTS, arrays, damaged, require, require_file

# From 20 on, LayerNormalization (17) and exact Gelu (20) are single operators with fast kernels.
OPSET = 20
MAX_BYTES = 2**31  # of a protobuf message
PACKAGES = ("onnx", "onnxscript", "onnxruntime")

Model = TrimformerModel | TrimformerWithHead


def require_onnx() -> None:
    """Raise TrimformerError where a package of the ``onnx`` extra is missing."""
    require("onnx", PACKAGES)


class OnnxSession:
    """An ONNX file under ONNX Runtime on the CPU; ``threads`` inside one operator, None = one for each core.

    Raises TrimformerError for a file that is missing or not a readable ONNX model.
    """

    def __init__(self, path: Path, threads: int | None = None) -> None:
        require_onnx()
        import onnxruntime

        require_file(path)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or 0
        options.inter_op_num_threads = 1
        # Threads that go on spinning after a run would take the cores from whatever runs next in this process.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        options.log_severity_level = 4  # what goes wrong is raised below; it need not be printed as well
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise damaged(path, "ONNX model", error) from error
        self.output: str = self._session.get_outputs()[0].name

    def run(self, inputs: dict[str, Tensor]) -> np.ndarray:
        """The output, as stored. inputs: int64 (batch, n); ``token_type_ids`` may be left out (then all 0)."""
        output: np.ndarray = self._session.run(None, arrays(inputs))[0]
        return output


def write_fp32(model: Model, path: Path) -> None:
    """Write the ONNX file of an fp32 model in evaluation mode.

    Raises TrimformerError where the ``onnx`` extra is missing or the weights are too large for one file.
    """
    require_onnx()
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
            ExportedEncoder(model),
            tuple(example[name] for name in INPUTS),
            dynamo=True,
            verbose=False,
            opset_version=OPSET,
            input_names=list(INPUTS),
            output_names=[output],
            dynamic_shapes=[{0: batch, 1: length}] * len(INPUTS),
        )
    if program is None:
        raise TrimformerError("The exporter of this torch gave no graph: upgrade torch to 2.11 or newer.")
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
