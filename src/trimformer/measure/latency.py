"""Honest latency: wall-clock, every variant in one run, taking turns, warm-up left out."""

from __future__ import annotations

import dataclasses
import itertools
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from ..console import Ticker
from ..deploy.onnx import random_inputs
from ..deploy.session import torch_threads
from ..errors import TrimformerError
from .variants import BACKENDS, Model, Variant, make_variant, named_models

WARM_UP = 2
MAX_ROUNDS = 500


@dataclasses.dataclass(frozen=True)
class Timing:
    """Latency of one variant at one input shape.

    median_ms, p95_ms: milliseconds of one forward pass of the whole batch; None where it did not run.
    runs: timed passes. skipped: why it did not run, empty otherwise.
    """

    name: str
    backend: str
    batch: int
    length: int
    median_ms: float | None
    p95_ms: float | None
    runs: int
    threads: int
    skipped: str = ""


def benchmark(
    models: Sequence[str | Path | Model] | Mapping[str, str | Path | Model],
    *,
    batch: Sequence[int] = (1, 4),
    length: Sequence[int] = (128,),
    shapes: Sequence[tuple[int, int]] | None = None,
    threads: int = 2,
    backends: Sequence[str] = BACKENDS,
    repeats: int = 10,
    seconds: float = 5.0,
    seed: int = 0,
) -> list[Timing]:
    """Time models under backends, fp32 or as the backend says, on the CPU.

    models: loaded models, or anything that :func:`trimformer.encoder.load.load` reads; a mapping gives names.
    batch, length: every combination is timed; ``shapes`` gives (batch, length) pairs instead.
    repeats: least number of timed passes of each variant at each shape; passes go on until ``seconds`` have
        been spent on that shape.

    Inputs are random ids of full length, with the attention mask given, as a batch without padding has it.
    Variants alternate pass by pass, so that a change of the machine's speed falls on all of them. The thread
    count holds for PyTorch and ONNX Runtime; PyTorch's is restored. Results are ordered by shape, then model,
    then backend.

    Raises TrimformerError for an unknown backend, an empty list, or a length that a model cannot take. A
    backend that cannot run one of the models gives a Timing with the reason in ``skipped``.
    """
    pairs = list(shapes) if shapes is not None else list(itertools.product(batch, length))
    unknown = [backend for backend in backends if backend not in BACKENDS]
    if unknown:
        raise TrimformerError(f"Unknown backend {unknown[0]!r}: use some of {', '.join(BACKENDS)}.")
    if not models or not backends or not pairs or min(threads, repeats, *itertools.chain(*pairs)) < 1:
        raise TrimformerError("Give a model, a backend, and sizes, threads and repeats of at least 1.")
    loaded = named_models(models)
    longest = max(n for _, n in pairs)
    for name, model in loaded.items():
        if longest > model.config.max_tokens:
            raise TrimformerError(f"{name} takes at most {model.config.max_tokens} tokens, not {longest}.")
    with tempfile.TemporaryDirectory() as folder, torch_threads(threads):
        variants = [
            make_variant(name, model, backend, threads, Path(folder) / str(index))
            for index, (name, model) in enumerate(loaded.items())
            # int8 first: its export writes the fp32 file too
            for backend in sorted(backends, key=lambda name: name != "onnx-int8")
        ]
        order = list(itertools.product(loaded, backends))
        variants.sort(key=lambda v: order.index((v.name, v.backend)))
        vocabulary = min((model.config for model in loaded.values()), key=lambda config: config.vocab_size)
        timings: list[Timing] = []
        with Ticker("Timing", len(pairs) * repeats) as tick:
            for size, n in pairs:
                inputs = random_inputs(vocabulary, size, n, seed=seed)
                inputs["token_type_ids"].zero_()
                times = _alternate(variants, inputs, repeats, seconds, tick)
                timings += [
                    _timing(variant, size, n, threads, passes) for variant, passes in zip(variants, times, strict=True)
                ]
    return timings


def speedups(timings: Sequence[Timing]) -> list[float | None]:
    """How many times faster each is than the first of its shape that ran; None where it did not run.

    The first is the first model under the first backend.
    """
    base: dict[tuple[int, int], float] = {}
    for timing in timings:
        if timing.median_ms is not None:
            base.setdefault((timing.batch, timing.length), timing.median_ms)
    return [t.median_ms and base[t.batch, t.length] / t.median_ms for t in timings]


def _alternate(
    variants: Sequence[Variant], inputs: dict[str, Tensor], repeats: int, seconds: float, tick: Ticker
) -> list[list[float]]:
    """Milliseconds of the timed passes of each variant, in rounds of one pass each."""
    times: list[list[float]] = [[] for _ in variants]
    started = time.perf_counter()
    for turn in range(-WARM_UP, MAX_ROUNDS):
        if turn >= repeats and time.perf_counter() - started > seconds:
            break
        for variant, passes in zip(variants, times, strict=True):
            if variant.run is None:
                continue
            before = time.perf_counter()
            variant.run(inputs)
            if turn >= 0:
                passes.append((time.perf_counter() - before) * 1e3)
        if 0 <= turn < repeats:
            tick.advance()
    return times


def _timing(variant: Variant, batch: int, length: int, threads: int, passes: list[float]) -> Timing:
    median, p95 = (float(np.percentile(passes, q)) for q in (50, 95)) if passes else (None, None)
    return Timing(variant.name, variant.backend, batch, length, median, p95, len(passes), threads, variant.skipped)
