"""Speed of BERT-base with random weights, dense and trimmed, under every back-end of this machine.

    python benchmarks/speed.py                            # all parts, about 15 minutes on 2 quiet cores
    python benchmarks/speed.py --part shapes              # every back-end at four sizes, one run; the machine's limit
    python benchmarks/speed.py --part sweep [--only onnx] # dense against trimmed, 1×16 to 32×512, back-end by back-end
    python benchmarks/speed.py --part fresh               # start-up, memory and size, each in a process of its own

What is measured goes into benchmarks/results/speed_bert_base.json at once, so that a run that is cut loses nothing; a
part that is run again replaces its own numbers. ``python benchmarks/tables.py`` makes the tables of docs/benchmarks.md.
Latency does not depend on the weights, so random ones will do; int8 accuracy does, and is not measured here.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from trimformer.deploy.session import torch_threads
from trimformer.files import atomic_file
from trimformer.hardware import hardware
from trimformer.measure.bench.bench import Bench
from trimformer.measure.bench.latency import Timing, make_workloads, time_variants
from trimformer.measure.bench.peak import best, matrix_peaks
from trimformer.measure.bench.process import footprint
from trimformer.measure.bench.variants import STOCK, Variant, available_backends, make_variants

MODELS = {
    "dense": "shape:bert-base",
    "mean 2-11": "shape:bert-base,attention=2-11=mean",
    "none 2-11": "shape:bert-base,attention=2-11=none",
}
SHAPES = [(4, 256), (8, 128), (8, 256), (1, 128)]
GRID = list(itertools.product((1, 4, 8, 32), (16, 64, 128, 256, 512)))
SWEPT = ("torch", "onnx", "onnx-int8", "openvino", "openvino-int8")
FRESH = ("eager", "torch", "onnx", "onnx-int8", "openvino-bf16", "openvino-int8")
DEFAULT = Path(__file__).parent / "results" / "speed_bert_base.json"


class Results:
    """The file, written anew after every step."""

    def __init__(self, path: Path, threads: int) -> None:
        self.path, self.threads = path, threads
        self.content: dict[str, Any] = {"models": MODELS}
        if path.is_file():
            self.content = json.loads(path.read_text(encoding="utf-8"))

    def put(self, part: str, values: dict[str, Any]) -> None:
        stamp = {"command": f"python benchmarks/speed.py --part {part} --threads {self.threads}"}
        self.content[part] = stamp | {"hardware": hardware()} | values
        with atomic_file(self.path) as file:
            file.write_text(json.dumps(self.content, indent=1) + "\n", encoding="utf-8")


def prepared(
    folder: str, threads: int, backends: Sequence[str], models: Sequence[str] = tuple(MODELS)
) -> list[Variant]:
    """The models under the back-ends; stock classes hold dense models only."""
    variants: list[Variant] = []
    for name in models:
        own = [backend for backend in backends if name == "dense" or backend not in STOCK]
        variants += make_variants({name: MODELS[name]}, own, threads, Path(folder) / name.replace(" ", "-"))
    return variants


def shapes(results: Results, only: Sequence[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        variants = prepared(folder, results.threads, only or available_backends())
        timings: list[Timing] = []
        peaks = matrix_peaks(results.threads)

        def done(new: list[Timing]) -> None:
            timings.extend(new)
            results.put("shapes", _bench(results.threads, timings, peaks))

        time_variants(
            variants, make_workloads(variants, SHAPES), threads=results.threads, repeats=6, seconds=4, done=done
        )
        results.put("shapes", _bench(results.threads, timings, best(peaks, matrix_peaks(results.threads))))


def sweep(results: Results, only: Sequence[str]) -> None:
    """Back-end by back-end, dense and trimmed taking turns; each is written when a size is done."""
    timings = [t for t in results.content.get("sweep", {}).get("timings", []) if only and t["backend"] not in only]
    for backend in only or [name for name in SWEPT if name in available_backends()]:
        with tempfile.TemporaryDirectory() as folder:
            variants = prepared(folder, results.threads, [backend])

            def done(new: list[Timing]) -> None:
                timings.extend(dataclasses.asdict(timing) for timing in new)
                results.put("sweep", {"timings": timings})

            time_variants(
                variants, make_workloads(variants, GRID), threads=results.threads, repeats=2, seconds=1, done=done
            )


def fresh(results: Results, only: Sequence[str]) -> None:
    backends = only or [name for name in FRESH if name in available_backends()]
    found: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for variant in prepared(folder, results.threads, backends):
            found.append(dataclasses.asdict(footprint(variant, 8, 256, results.threads)))
            results.put("fresh", {"footprints": found})


def _bench(threads: int, timings: list[Timing], peaks: list[Any]) -> dict[str, Any]:
    values = Bench({}, threads, timings, [], peaks, []).as_json()
    return {key: values[key] for key in ("peaks", "timings")}


PARTS: dict[str, Callable[[Results, Sequence[str]], None]] = {"shapes": shapes, "sweep": sweep, "fresh": fresh}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--part", choices=PARTS, action="append", help="may be repeated; default all")
    parser.add_argument("--only", default="", help="comma-separated back-ends")
    parser.add_argument("--json", type=Path, default=DEFAULT, help="where the numbers are written")
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args(arguments)
    results = Results(given.json, given.threads)
    with torch_threads(given.threads):
        for part in given.part or PARTS:
            PARTS[part](results, [name for name in given.only.split(",") if name])


if __name__ == "__main__":
    main()
