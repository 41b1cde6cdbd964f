"""Honest latency: wall-clock, every variant in one run, taking turns, warm-up left out."""

from __future__ import annotations

import dataclasses
import itertools
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from ...console import Ticker
from ...encoder import TrimformerConfig
from ...errors import TrimformerError
from ...tasks.encoding.encoded import Encoded
from ...threads import torch_threads
from ..cost import cost
from .names import short_names
from .variants import Model, Variant, make_variants, reason
from .workload import Lengths, Workload, fixed, own_lengths

COMMON = ("eager", "sdpa", "torch", "onnx", "onnx-int8")
NEEDS_TEXTS = (
    "has exits: its time depends on what the texts say, and random tokens leave elsewhere. Give texts of your own "
    "(--data FILE, or --task with its data)."
)
WARM_SECONDS = 1.0
MAX_ROUNDS = 500
TURN_SECONDS = 0.02
"""Short passes are repeated within a turn and the first is left out: it pays for what ran before, such as the threads
of another library that still spin, which a service would not see."""


@dataclasses.dataclass(frozen=True)
class Timing:
    """Speed of one variant on one workload.

    length: tokens of a sequence, the mean where they differ. lengths: ``fixed``, ``padded`` or ``bucketed``.
    median_ms, p95_ms: milliseconds of one forward pass of the whole batch; None where it did not run. mean_ms: the
    mean over the batches, of the median of each.
    sequences_per_s, tokens_per_s: from the median time of each batch; padding is not counted.
    flops_per_s: operations per second, as :func:`trimformer.cost` counts them for the tokens without padding; None
    where the shape is not known.
    runs: timed passes. skipped: why it did not run, empty otherwise. executed: texts that went through 1, 2, … layers
    in these passes, of a model with exits; its operations per second are not known.
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
    lengths: Lengths = "fixed"
    sequences_per_s: float | None = None
    tokens_per_s: float | None = None
    flops_per_s: float | None = None
    mean_ms: float | None = None
    executed: list[int] | None = None


def benchmark(
    models: Sequence[str | Path | Model] | Mapping[str, str | Path | Model],
    *,
    batch: Sequence[int] = (1, 4),
    length: Sequence[int] = (128,),
    shapes: Sequence[tuple[int, int]] | None = None,
    data: Encoded | None = None,
    threads: int = 2,
    backends: Sequence[str] = COMMON,
    repeats: int = 10,
    seconds: float = 5.0,
    seed: int = 0,
) -> list[Timing]:
    """Time models under back-ends, fp32 or as the back-end says, on the GPU where PyTorch has one, else on the CPU.

    models: loaded models, anything that :func:`trimformer.load` reads, or exported files; a mapping, or
        ``name=model``, gives names.
    batch, length: every combination is timed; ``shapes`` gives (batch, length) pairs instead.
    data: tokenised texts, timed with their own lengths too, in each batch size; they calibrate what needs it.
    repeats: least number of timed passes of each variant at each shape; passes go on until ``seconds`` have
        been spent on that shape.

    Variants take turns, so that a change of the machine's speed falls on all of them. The thread count holds for
    every CPU library; PyTorch's is restored. Results are ordered by workload, then model, then back-end.

    Raises TrimformerError for an unknown back-end, an empty list, or a length that a model cannot take. A
    back-end that cannot run one of the models gives a Timing with the reason in ``skipped``.
    """
    sizes = list(shapes) if shapes is not None else list(itertools.product(batch, length))
    if not models or not backends or not sizes or min(threads, repeats, *itertools.chain(*sizes)) < 1:
        raise TrimformerError("Give a model, a backend, and sizes, threads and repeats of at least 1.")
    with tempfile.TemporaryDirectory() as folder, torch_threads(threads):
        variants = make_variants(models, backends, threads, Path(folder), data)
        workloads = make_workloads(variants, sizes, data, seed)
        return time_variants(variants, workloads, threads=threads, repeats=repeats, seconds=seconds)


def make_workloads(
    variants: Sequence[Variant], sizes: Sequence[tuple[int, int]], data: Encoded | None = None, seed: int = 0
) -> list[Workload]:
    """Random ids that all variants know, at each (batch, length); then the data in each of the batch sizes.

    Where texts may leave a model early the data alone are timed: random ids leave elsewhere than texts do.
    Raises TrimformerError for a length that a model cannot take, for data of another vocabulary, and for a model whose
    texts may leave early without data.
    """
    fixed_sizes = sizes
    if early := _leaves_early(variants):
        if data is None:
            raise TrimformerError(f"{early} {NEEDS_TEXTS}")
        fixed_sizes = []
    configs = {variant.name: variant.config for variant in variants if variant.config is not None}
    longest = max([n for _, n in fixed_sizes] + ([] if data is None else [int(data.lengths.max())]))
    for name, config in configs.items():
        if longest > config.max_tokens:
            raise TrimformerError(f"{name} takes at most {config.max_tokens} tokens, not {longest}.")
        if data is not None and int(data.ids.max()) >= config.vocab_size:
            raise TrimformerError(f"{name} has another vocabulary than the tokenizer of the texts: time it alone.")
    smallest = min(configs.values(), key=lambda config: config.vocab_size, default=TrimformerConfig())
    workloads = [fixed(smallest, size, n, seed) for size, n in fixed_sizes]
    if data is not None:
        workloads += own_lengths(data, list(dict.fromkeys(size for size, _ in sizes)))
    return workloads


def _leaves_early(variants: Sequence[Variant]) -> str | None:
    """The first model whose texts may leave early."""
    return next((variant.name for variant in variants if variant.executed is not None), None)


def time_variants(
    variants: Sequence[Variant],
    workloads: Sequence[Workload],
    *,
    threads: int,
    repeats: int = 10,
    seconds: float = 5.0,
    done: Callable[[list[Timing]], None] = lambda _: None,
) -> list[Timing]:
    """Time variants on workloads, taking turns; ``done`` is called with the timings of each workload.

    Raises TrimformerError for random ids where texts may leave a model early.
    """
    if (early := _leaves_early(variants)) and any(workload.lengths == "fixed" for workload in workloads):
        raise TrimformerError(f"{early} {NEEDS_TEXTS}")
    timings: list[Timing] = []
    with Ticker("Timing", len(workloads) * len(variants) * (1 + repeats)) as tick:
        for workload in workloads:
            ready, skipped = _warmed_up(variants, workload, tick)
            tick.advance(repeats * len(skipped))
            for variant in variants:
                _executed(variant)  # of warming up
            times = _alternate(ready, workload, repeats, seconds, tick)
            timings += [
                _timing(variant, workload, threads, times.get(index, []), skipped.get(index, ""))
                for index, variant in enumerate(variants)
            ]
            done(timings[-len(variants) :])
    return timings


def speedups(timings: Sequence[Timing]) -> list[float | None]:
    """How many times faster each is than the first of its workload that ran; None where it did not run.

    The first is the first model under the first back-end.
    """
    base: dict[tuple[int, int, str], float] = {}
    for timing in timings:
        if timing.sequences_per_s is not None:
            base.setdefault((timing.batch, timing.length, timing.lengths), timing.sequences_per_s)
    return [t.sequences_per_s and t.sequences_per_s / base[t.batch, t.length, t.lengths] for t in timings]


def _warmed_up(
    variants: Sequence[Variant], workload: Workload, tick: Ticker
) -> tuple[dict[int, Variant], dict[int, str]]:
    """Those that ran, and why the others did not, both by position. Compilers work at the first pass."""
    ready, skipped = {}, {}
    names = short_names(variant.name for variant in variants)
    for index, variant in enumerate(variants):
        tick.show(f"Warming up {variant.backend}, {names[variant.name]}")
        tick.advance()
        if variant.run is None:
            skipped[index] = variant.skipped
            continue
        try:
            started = time.perf_counter()
            for inputs in workload.batches:
                variant.run(inputs)
            if time.perf_counter() - started < WARM_SECONDS:
                variant.run(workload.batches[0])
        except Exception as error:  # every runtime and compiler has its own; the others go on
            skipped[index] = reason(error)
        else:
            ready[index] = variant
    return ready, skipped


def _alternate(
    variants: Mapping[int, Variant], workload: Workload, repeats: int, seconds: float, tick: Ticker
) -> dict[int, list[float]]:
    """Milliseconds of the timed passes of each variant, in rounds of one turn each; at least two rounds."""
    times: dict[int, list[float]] = {index: [] for index in variants}
    names = short_names(variant.name for variant in variants.values())
    started = time.perf_counter()
    for turn in range(MAX_ROUNDS):
        fewest = min(map(len, times.values()), default=repeats)
        if turn >= 2 and fewest >= repeats and time.perf_counter() - started > seconds:
            break
        for index, variant in variants.items():
            tick.show(f"Timing {variant.backend}, {names[variant.name]}, turn {turn + 1}")
            before = min(len(times[index]), repeats)
            times[index] += _turn(variant, workload)
            tick.advance(min(len(times[index]), repeats) - before)
    return times


def _turn(variant: Variant, workload: Workload) -> list[float]:
    """Milliseconds of each pass: all batches once, or again and again where that is quick."""
    assert variant.run is not None
    times: list[float] = []
    started = time.perf_counter()
    while True:
        for inputs in workload.batches:
            before = time.perf_counter()
            variant.run(inputs)
            times.append((time.perf_counter() - before) * 1e3)
        if time.perf_counter() - started > TURN_SECONDS:
            return times[len(workload.batches) :] or times


def _timing(variant: Variant, workload: Workload, threads: int, passes: list[float], skipped: str) -> Timing:
    timing = Timing(
        variant.name, variant.backend, workload.batch, workload.length, None, None, len(passes), threads, skipped,
        workload.lengths, executed=_executed(variant) if passes else None,
    )  # fmt: skip
    if not passes:
        return timing
    median, p95 = (float(np.percentile(passes, q)) for q in (50, 95))
    # The median of each batch, so that a hiccup of the machine weighs as little in the throughput as in the latency.
    count = len(workload.batches)
    spent = sum(float(np.median(passes[start::count])) for start in range(count)) / 1e3
    return dataclasses.replace(
        timing,
        median_ms=median,
        p95_ms=p95,
        mean_ms=1e3 * spent / count,
        sequences_per_s=len(workload.tokens) / spent,
        tokens_per_s=float(workload.tokens.sum()) / spent,
        flops_per_s=_flops(variant, workload) / spent if variant.config and not variant.executed else None,
    )


def _executed(variant: Variant) -> list[int] | None:
    """What was counted since this was last asked."""
    return None if variant.executed is None else variant.executed.take()


def _flops(variant: Variant, workload: Workload) -> float:
    assert variant.config is not None
    lengths, counts = np.unique(workload.tokens, return_counts=True)
    return sum(
        int(count) * cost(variant.config, int(n), head=variant.head).flops
        for n, count in zip(lengths, counts, strict=True)
    )
