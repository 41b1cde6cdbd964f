"""The exports that a user makes without this package: the stock Hugging Face class, to ONNX and from there to OpenVINO.

torch.onnx.export as its documentation shows, with eager attention, whose graph runs faster than that of SDPA; then ONNX
Runtime's dynamic int8 and NNCF's post-training int8 with their defaults for Transformers. The exports that
``trimformer export`` makes of a dense model are rearranged and a little faster, so they would be no peers.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from trimformer.deploy.onnx import OPSET, random_inputs
from trimformer.deploy.openvino import read, save
from trimformer.deploy.quantize_openvino import Samples, samples
from trimformer.encoder.checkpoints.families import to_huggingface
from trimformer.encoder.model.heads import TrimformerForSequenceClassification
from trimformer.inference.runtimes.onnx import OnnxSession
from trimformer.inference.runtimes.openvino import OpenVinoSession, without_telemetry
from trimformer.inference.runtimes.session import INPUTS, Session
from trimformer.measure.bench.variants import Variant, reason
from trimformer.tasks.encoding.encoded import Encoded


class Logits(nn.Module):
    """The stock model with its inputs in the order of ``INPUTS``."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Tensor:
        given = {"input_ids": input_ids, "attention_mask": attention_mask, "token_type_ids": token_type_ids}
        logits: Tensor = self.model(**given).logits
        return logits


def stock_exports(
    dense: TrimformerForSequenceClassification, folder: Path, threads: int, texts: Encoded | None = None
) -> list[Variant]:
    """The variants; one that cannot be made says why. texts: NNCF's calibration data, None = random tokens."""
    folder.mkdir(parents=True, exist_ok=True)
    source = folder / "stock.onnx"
    write_onnx(dense, source)

    def dynamic_int8() -> Session:
        from onnxruntime.quantization import quantize_dynamic

        quantize_dynamic(source, folder / "stock.int8.onnx")
        return OnnxSession(folder / "stock.int8.onnx", threads)

    def nncf_int8() -> Session:
        quantize_nncf(source, folder / "stock.int8.xml", samples(dense.config, texts))
        return OpenVinoSession(folder / "stock.int8.xml", "int8", threads)

    def bf16() -> Session:
        save(read(source), folder / "stock.xml")
        return OpenVinoSession(folder / "stock.xml", "bf16", threads)

    made: dict[str, Callable[[], Session]] = {
        "stock onnx": lambda: OnnxSession(source, threads),
        "stock onnx-int8": dynamic_int8,
        "stock openvino-bf16": bf16,
        "stock openvino-int8": nncf_int8,
    }
    return [_variant(name, make) for name, make in made.items()]


def write_onnx(dense: TrimformerForSequenceClassification, path: Path) -> None:
    """torch.onnx.export of the stock class, dynamic in batch and length."""
    import onnx

    model = to_huggingface(dense)
    model.set_attn_implementation("eager")
    example = random_inputs(dense.config, 2, 16)
    batch, length = torch.export.Dim("batch"), torch.export.Dim("length")
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(action="ignore"):
        program = torch.onnx.export(
            Logits(model).eval(),
            tuple(example[name] for name in INPUTS),
            dynamo=True,
            verbose=False,
            opset_version=OPSET,
            input_names=list(INPUTS),
            output_names=["logits"],
            dynamic_shapes=[{0: batch, 1: length}] * len(INPUTS),
        )
    assert program is not None
    graph: Any = program.model_proto
    del graph.graph.value_info[:]  # stale shapes, on which the quantizer fails
    onnx.save(graph, str(path))


def quantize_nncf(source: Path, target: Path, rows: Samples) -> None:
    """NNCF's post-training quantization as its documentation advises for Transformers."""
    with without_telemetry():
        import nncf
    model = nncf.quantize(
        read(source), nncf.Dataset(rows), model_type=nncf.ModelType.TRANSFORMER, subset_size=len(rows)
    )
    save(model, target)


def _variant(name: str, make: Callable[[], Session]) -> Variant:
    try:
        session = make()
    except Exception as error:  # whatever a library raises on this machine: the others go on
        return Variant("dense", name, None, reason(error))
    return Variant("dense", name, session.run)
