"""What each step beyond removing the attention is worth: ``python benchmarks/gains.py [--data DATA]``.

Every step is undone alone, in the export of the model on which it acts, and both files take turns in one run. BERT-base
shape with random weights. With --data (the folder with glue/) also what padding costs on the texts of SST-2. Results go
into benchmarks/results/gains.json; ``python benchmarks/tables.py`` makes the table of docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any
from unittest import mock

from torch import Tensor, nn

from trimformer.deploy.backends import open_backend, write
from trimformer.deploy.session import torch_threads
from trimformer.encoder.checkpoints.load import load, load_tokenizer
from trimformer.encoder.model.heads import TrimformerForSequenceClassification
from trimformer.encoder.parts.attention import mean
from trimformer.encoder.parts.attention.mean import MeanAttention
from trimformer.encoder.parts.exported import ExportedTokens
from trimformer.files import atomic_file
from trimformer.hardware import hardware
from trimformer.measure.bench.latency import Timing, make_workloads, time_variants
from trimformer.measure.bench.variants import Variant
from trimformer.tasks.encode import encode
from trimformer.tasks.settings import TaskSettings
from trimformer.tasks.task import load_validation

RESULTS = Path(__file__).parent / "results" / "gains.json"
SHAPE = "shape:bert-base"
KINDS = {kind: f"{SHAPE},attention=2-11={kind}" for kind in ("conv", "mean", "none")}
MODELS = {"dense": SHAPE} | {f"{kind} 2-11": shape for kind, shape in KINDS.items()}
SIZES = [(4, 256), (1, 128)]
BACKENDS = ("onnx", "onnx-int8", "openvino-int8")


class TwoProducts(nn.Module):
    """A ``mean`` layer of level 1: value and output map one after the other."""

    def __init__(self, attention: MeanAttention) -> None:
        super().__init__()
        self.attention = attention

    def forward(self, x: Tensor, shared: ExportedTokens) -> Tensor:
        read = (shared.mean_weights @ x).squeeze(1)
        return self.attention.output(self.attention.value(read))[:, None]


def replaced(name: str, other: type[nn.Module]) -> AbstractContextManager[Any]:
    """Another class in the export."""
    return mock.patch.object(mean, name, other)


def every_token() -> AbstractContextManager[Any]:
    """The head is said to read all tokens, so that all are computed to the end."""
    return mock.patch.object(TrimformerForSequenceClassification, "reads_first", classmethod(lambda cls, config: False))


@dataclasses.dataclass(frozen=True)
class Step:
    """model: of ``MODELS``, the one on which the step acts. undone: a context in which the export lacks it."""

    name: str
    model: str
    undone: Callable[[], AbstractContextManager[Any]]


STEPS = (
    Step("mean layers folded into one product", "mean 2-11", lambda: replaced("ExportedMean", TwoProducts)),
    Step("only the first token at the end", "dense", every_token),
    Step("only the first token at the end", "mean 2-11", every_token),
    Step("only the first token at the end", "none 2-11", every_token),
)


def exported(name: str, model: Any, folder: Path, threads: int, backends: Sequence[str]) -> list[Variant]:
    """A model's files under the back-ends."""
    return [
        Variant(name, backend, open_backend(write(model, backend, folder), backend, threads).run, config=model.config)
        for backend in backends
    ]


def variants(threads: int, backends: Sequence[str], folder: Path) -> Iterator[Variant]:
    """Each model as it is exported, and each step undone."""
    for name, shape in MODELS.items():
        yield from exported(name, load(shape), folder / name, threads, backends)
    for index, step in enumerate(STEPS):
        with step.undone():
            yield from exported(f"without {index}", load(MODELS[step.model]), folder / str(index), threads, backends)


def steps(threads: int, backends: Sequence[str]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        found = list(variants(threads, backends, Path(folder)))
        timings = time_variants(found, make_workloads(found, SIZES), threads=threads, repeats=6, seconds=5)
    return {
        "steps": [{"name": step.name, "model": step.model} for step in STEPS],
        "models": MODELS,
        "timings": [dataclasses.asdict(timing) for timing in timings],
    }


def padding(threads: int, backends: Sequence[str], data: Path) -> dict[str, Any]:
    """Texts of SST-2 in batches of 32: in the order of their file, and sorted by length."""
    task, examples = load_validation(TaskSettings(name="sst2", data=str(data / "glue")), ["0", "1"])
    rows = encode(task, examples, load_tokenizer("demo"), 128)
    with tempfile.TemporaryDirectory() as folder:
        found = exported("mean 2-11", load(MODELS["mean 2-11"]), Path(folder), threads, backends)
        timings = time_variants(found, make_workloads(found, [(32, 16)], rows), threads=threads, repeats=3, seconds=3)
    own: list[Timing] = [timing for timing in timings if timing.lengths != "fixed"]
    return {"timings": [dataclasses.asdict(timing) for timing in own]}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder with glue/: measures padding too")
    parser.add_argument("--backends", default=",".join(BACKENDS))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path, default=RESULTS)
    given = parser.parse_args(arguments)
    backends = given.backends.split(",")
    command = f"python benchmarks/gains.py --data DATA --backends {given.backends}"
    content: dict[str, Any] = {"command": command, "hardware": hardware()}
    with contextlib.ExitStack() as stack:
        stack.enter_context(torch_threads(given.threads))
        content["steps"] = steps(given.threads, backends)
        if given.data is not None:
            content["padding"] = padding(given.threads, backends, given.data)
    with atomic_file(given.json) as file:
        file.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
