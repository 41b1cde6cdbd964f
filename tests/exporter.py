"""A quick exporter for tests that need a file, whichever exporter wrote it.

torch's own exporter takes 4 to 8 s for the graph of a tiny model, the older one that it still has a third of a second.
The laws of exported files, tests of `deploy` whose subject is the file, and one whole run use the exporter that users
get.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Sequence
from typing import Any

import onnx
import pytest
import torch
from torch import Tensor, nn

from trimformer.deploy.onnx import OPSET, traced
from trimformer.deploy.quick import open_axes

PLACE = "trimformer.deploy.onnx.traced"


def quickly_traced(encoder: nn.Module, example: dict[str, Tensor], outputs: Sequence[str]) -> Any:
    """What `traced` gives, by the older exporter."""
    file = io.BytesIO()
    torch.onnx.export(
        encoder,
        tuple(example.values()),
        file,
        dynamo=False,
        opset_version=OPSET,
        input_names=list(example),
        output_names=list(outputs),
        dynamic_axes={name: open_axes(name, given) for name, given in example.items()}
        | {name: {0: "batch", 1: "length"} for name in outputs},
    )
    return onnx.load_model_from_string(file.getvalue())


@contextlib.contextmanager
def own_exporter() -> Iterator[None]:
    """The exporter that users get."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PLACE, traced)
        yield
