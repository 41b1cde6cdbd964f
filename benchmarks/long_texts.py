"""Long texts: a window with the first token dense against full attention, and the memory of ModernBERT's shape.

    python benchmarks/long_texts.py                                    # about an hour on 2 quiet cores
    python benchmarks/long_texts.py --part speed --only onnx           # one back-end
    python benchmarks/long_texts.py --part memory --version "before"   # of another checkout, by its name

``speed``: layers of BERT-base's shape with random weights, one text, every token computed to the end. All attend either
to every token, or to a window of 128 tokens and the first one; the two take turns under each back-end at each length.
Two layers stand for twelve, which are alike. ``operations``: how many times fewer they are, the first token left out of
the count. ``memory``: all of ModernBERT-base's layers with random weights, in a process of its own for each length.

What is measured goes into benchmarks/results/long_texts.json at once; what stands there is left out, unless ``--again``
is given. ``python benchmarks/tables.py`` makes the tables of docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trimformer import cost
from trimformer.deploy.writers import write
from trimformer.encoder.checkpoints.families import FAMILIES
from trimformer.encoder.model.body import TrimformerModel
from trimformer.encoder.shape.config import LayerShape, TrimformerConfig
from trimformer.files import atomic_file
from trimformer.hardware import hardware
from trimformer.inference.runtimes.backends import open_backend
from trimformer.measure.bench.latency import make_workloads, time_variants
from trimformer.measure.bench.process import footprint
from trimformer.measure.bench.variants import Variant, make_variants
from trimformer.threads import torch_threads

RESULTS = Path(__file__).parent / "results" / "long_texts.json"
SIZES: dict[str, Any] = {"attention": "full", "heads": 12, "head_size": 64, "ffn": 3072}
WINDOW = 128
LENGTHS = (128, 512, 1024, 2048, 8192)
BACKENDS = ("torch", "onnx", "onnx-int8", "openvino")
MEMORY_LENGTHS = (16, 2048, 4096, 8192)
"""The first one shows what the libraries and the weights need alone."""
MEMORY_BACKENDS = ("torch", "onnx", "openvino")


class Results:
    """The file, written anew after every step."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}

    def put(self, part: str, key: str, values: dict[str, Any]) -> None:
        self.content.setdefault(part, {})[key] = values | {"hardware": hardware()}
        with atomic_file(self.path) as file:
            file.write_text(json.dumps(self.content, indent=1) + "\n", encoding="utf-8")

    def has(self, part: str, key: str) -> bool:
        return key in self.content.get(part, {})


def bert(layers: int, window: int | None) -> TrimformerModel:
    """Layers of BERT-base's shape; with a window the first token is dense."""
    layer: dict[str, Any] = dataclasses.asdict(LayerShape(**SIZES))
    if window is not None:
        layer |= {"attention": "sparse", "own": {"pattern": {"name": "longformer", "window": window, "first": 1}}}
    torch.manual_seed(0)
    hidden = SIZES["heads"] * SIZES["head_size"]
    config = TrimformerConfig(
        vocab_size=1000, hidden_size=hidden, max_position_embeddings=max(LENGTHS), layers=[layer] * layers
    )
    return TrimformerModel(config).eval()


def modernbert() -> TrimformerModel:
    """ModernBERT-base's shape: 22 layers, of which every third attends to all tokens (Warner et al., 2024)."""
    every, near = {"rotary": 160_000.0}, {"rotary": 10_000.0, "window": WINDOW}
    layers = [dataclasses.asdict(LayerShape("full", 12, 64, 1152, **(near if i % 3 else every))) for i in range(22)]
    biases = dict.fromkeys(("attention_bias", "ffn_bias", "norm_bias"), False)
    fields = FAMILIES["modernbert"].config | biases | {"vocab_size": 50_368, "max_position_embeddings": max(LENGTHS)}
    torch.manual_seed(0)
    config = TrimformerConfig(family="modernbert", layers=layers, **fields)
    return TrimformerModel(config).eval()


def variants(backend: str, models: dict[str, TrimformerModel], threads: int, folder: Path) -> list[Variant]:
    found = []
    for name, model in models.items():
        if backend == "torch":
            run: Callable[[dict[str, Tensor]], np.ndarray] = _runner(model)
        else:
            run = open_backend(write(model, backend, folder / name), backend, threads).run
        found.append(Variant(name, backend, run, config=model.config))
    return found


def _runner(model: TrimformerModel) -> Callable[[dict[str, Tensor]], np.ndarray]:
    @torch.inference_mode()
    def run(inputs: dict[str, Tensor]) -> np.ndarray:
        values: np.ndarray = model(**inputs).last_hidden_state.numpy()
        return values

    return run


def speed(results: Results, given: argparse.Namespace) -> None:
    models = {"full": bert(given.layers, None), "window": bert(given.layers, WINDOW)}
    for backend in given.only or BACKENDS:
        left = [n for n in given.lengths or LENGTHS if given.again or not results.has("speed", f"{backend} {n}")]
        if not left:
            continue
        with tempfile.TemporaryDirectory() as folder:
            ready = variants(backend, models, given.threads, Path(folder))
            for length in left:
                (work,) = make_workloads(ready, [(1, length)])
                timings = time_variants(
                    ready, [work], threads=given.threads, repeats=given.repeats, seconds=given.seconds
                )
                values = {t.name: {"median_ms": t.median_ms, "runs": t.runs, "skipped": t.skipped} for t in timings}
                full, window = (cost(model, length).flops for model in models.values())
                stamp = {"layers": given.layers, "threads": given.threads, "operations": full / window}
                results.put("speed", f"{backend} {length}", {"times": values} | stamp)


def memory(results: Results, given: argparse.Namespace) -> None:
    backends = given.only or MEMORY_BACKENDS
    lengths = given.lengths or MEMORY_LENGTHS
    with tempfile.TemporaryDirectory() as folder:
        for variant in make_variants({"modernbert": modernbert()}, backends, given.threads, Path(folder)):
            for length in lengths:
                key = f"{given.version} {variant.backend} {length}"
                if given.again or not results.has("memory", key):
                    found = footprint(variant, 1, length, given.threads)
                    if found.skipped:  # to be tried again
                        print(f"{key}: {found.skipped}")
                        continue
                    values = {"version": given.version, "threads": given.threads} | dataclasses.asdict(found)
                    results.put("memory", key, values)


PARTS: dict[str, Callable[[Results, argparse.Namespace], None]] = {"speed": speed, "memory": memory}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--part", choices=PARTS, action="append", help="may be repeated; default all")
    parser.add_argument("--only", type=lambda text: text.split(","), default=[], help="comma-separated back-ends")
    parser.add_argument("--lengths", type=lambda text: [int(n) for n in text.split(",")], default=[])
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--version", default="now", help="what the memory is written down as")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--again", action="store_true", help="measure what stands in the file, too")
    parser.add_argument("--json", type=Path, default=RESULTS, help="where the numbers are written")
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args(arguments)
    with torch_threads(given.threads):
        for part in given.part or PARTS:
            PARTS[part](Results(given.json), given)


if __name__ == "__main__":
    main()
