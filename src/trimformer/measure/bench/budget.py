"""What a benchmark that answers within a minute has time for, and what it says of the rest."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Collection, Sequence

from ...console import Ticker
from ...deploy.writers import CALIBRATED, FROM_MODEL
from ...inference.runtimes.backends import FILE_BACKENDS
from .latency import Timing, time_variants
from .names import short_names
from .variants import Variant
from .workload import Workload

ANSWER_SECONDS = 60.0
PREPARING_SECONDS = 45.0
"""Of these; what is left is for timing."""
BATCHES = 4
"""Batches of texts that are timed at the least."""


@dataclasses.dataclass
class Budget:
    """The time of a run of so many models. left_out: what there was no time for, in a few words each."""

    models: int
    started: float = dataclasses.field(default_factory=time.perf_counter)
    left_out: list[str] = dataclasses.field(default_factory=list)

    def spent(self) -> float:
        """Seconds since the run began."""
        return time.perf_counter() - self.started

    def allows(self, backend: str) -> bool:
        """Whether there is time for this file of each model: one that is calibrated takes as long as all others."""
        if backend not in CALIBRATED or 2 * self.spent() * self.models <= PREPARING_SECONDS:
            return True
        self.left_out.append(backend)
        return False


class Preparing:
    """Shows which file of which model is made; asked by :func:`make_variants` before each."""

    def __init__(self, tick: Ticker, names: Sequence[str], allows: Callable[[str], bool]) -> None:
        self.tick, self.allows = tick, allows
        self.short = short_names(names)
        self.begun: dict[str, bool] = {}
        """By back-end: the same for each model."""

    def __call__(self, name: str, backend: str) -> bool:
        self.tick.advance()
        self.tick.show(f"{_phase(backend)} {backend}, {self.short[name]}")
        if backend not in self.begun:
            self.begun[backend] = self.allows(backend)
        return self.begun[backend]


def _phase(backend: str) -> str:
    if backend not in FILE_BACKENDS or backend in FROM_MODEL:
        return "Exporting" if backend in FROM_MODEL else "Opening"
    return "Quantising" if FILE_BACKENDS[backend].precision in ("int8", "int4") else "Converting"


def time_within(
    budget: Budget,
    variants: Sequence[Variant],
    workloads: Sequence[Workload],
    asked: Collection[int],
    threads: int,
    repeats: int,
    seconds: float,
    done: Callable[[list[Timing]], None],
) -> list[Timing]:
    """As :func:`time_variants`, with few turns where the models are slow, as the time left is shared by the workloads.

    Of texts, fewer batches are taken. asked: batch sizes that are timed however long it takes; a workload of another
    size is left out where there is no time for it.
    """
    timings: list[Timing] = []
    for index, given in enumerate(workloads):
        share = max(0.0, ANSWER_SECONDS - budget.spent()) / (len(workloads) - index)
        round_of = _seconds_per_position(timings, workloads) if timings else 0.0
        workload = given
        if given.lengths != "fixed" and (needed := repeats * round_of * given.positions) > share:
            workload = given.fewer(max(BATCHES, int(len(given.batches) * share / needed)))
        needed = (1 + repeats) * round_of * workload.positions
        if given.batch not in asked and needed > max(0.0, ANSWER_SECONDS - budget.spent()):
            budget.left_out.append(f"{_words(given)} (about {needed:.0f} s)")
            continue
        if workload is not given:
            texts = f"{len(given.tokens) - len(workload.tokens)} of {len(given.tokens)} texts"
            budget.left_out.append(f"{texts} in {_words(given)}")
        timings += time_variants(
            variants, [workload], threads=threads, repeats=repeats, seconds=min(seconds, share), done=done
        )
    return timings


def _seconds_per_position(timings: Sequence[Timing], workloads: Sequence[Workload]) -> float:
    """Seconds that all variants together need for a token, by the first workload."""
    first, of = workloads[0], (timings[0].batch, timings[0].lengths)
    times = [timing.median_ms or 0.0 for timing in timings if (timing.batch, timing.lengths) == of]
    return sum(times) / 1e3 / (first.positions / len(first.batches))


def _words(workload: Workload) -> str:
    how = f"{workload.length} tokens" if workload.lengths == "fixed" else f"texts {workload.lengths}"
    return f"batch {workload.batch} × {how}"
