"""What is timed: one model under one backend, as a function without arguments to find."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..deploy.onnx import FILES, export
from ..deploy.session import open_session, run_session
from ..encoder import TrimformerModel, TrimformerWithHead
from ..encoder.convert import to_huggingface
from ..encoder.load import load
from ..errors import TrimformerError

BACKENDS = ("eager", "sdpa", "torch", "onnx", "onnx-int8")
"""Stock Hugging Face with eager or SDPA attention; this encoder in PyTorch; ONNX Runtime fp32 and int8."""

Model = TrimformerModel | TrimformerWithHead


@dataclasses.dataclass(frozen=True)
class Variant:
    """A model under a backend. ``run`` takes int64 inputs (batch, n); None where it cannot run, see ``skipped``."""

    name: str
    backend: str
    run: Callable[[dict[str, Tensor]], Any] | None
    skipped: str = ""


def named_models(models: Sequence[str | Path | Model] | Mapping[str, str | Path | Model]) -> dict[str, Model]:
    """Load what is not loaded yet. Names are the keys of a mapping, or what was given, or a number."""
    if not isinstance(models, Mapping):
        models = {
            str(model) if isinstance(model, str | Path) else f"model {index}": model
            for index, model in enumerate(models, start=1)
        }
    return {name: load(model) if isinstance(model, str | Path) else _ready(model) for name, model in models.items()}


def _ready(model: Model) -> Model:
    if model.training:
        raise TrimformerError("A model in training mode is not what is deployed: call model.eval() first.")
    return model


def make_variant(name: str, model: Model, backend: str, threads: int, folder: Path) -> Variant:
    """Prepare one variant; ``folder`` holds the ONNX files of this model, written at the first need."""
    try:
        return Variant(name, backend, _runner(model, backend, threads, folder))
    except TrimformerError as error:
        return Variant(name, backend, None, str(error))


def _runner(model: Model, backend: str, threads: int, folder: Path) -> Callable[[dict[str, Tensor]], Any]:
    if backend in ("onnx", "onnx-int8"):
        path = folder / FILES["int8" if backend == "onnx-int8" else "fp32"]
        if not path.is_file():
            export(model, folder, int8=backend == "onnx-int8")
        session = open_session(path, threads)
        return lambda inputs: run_session(session, inputs)
    if backend == "torch":
        module: Any = model
    elif backend in ("eager", "sdpa"):
        module = to_huggingface(model)
        module.set_attn_implementation(backend)
    else:
        raise TrimformerError(f"Unknown backend {backend!r}: use some of {', '.join(BACKENDS)}.")

    @torch.inference_mode()
    def run(inputs: dict[str, Tensor]) -> Any:
        return module(**inputs)

    return run
