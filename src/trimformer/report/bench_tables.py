"""What ``bench`` measured as tables, the same in the terminal and in the picture's page."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..deploy.agreement import percent
from ..measure.bench.bench import Bench
from ..measure.bench.latency import Timing, speedups
from ..measure.bench.names import short_names
from ..measure.bench.process import Footprint
from ..measure.bench.score import Score
from ..tasks.metric import metric
from . import numbers

BEST = "*"
MIX = ("mean ms", "layers")
"""Where texts may leave a model early."""
SPARE = ("tokens/s", "of peak", "seq/s")


@dataclasses.dataclass(frozen=True)
class TextTable:
    """notes: what could not be measured, and why. spare: columns that a narrow terminal leaves out, the first first."""

    title: str
    header: list[str]
    rows: list[list[str]]
    notes: list[str] = dataclasses.field(default_factory=list)
    spare: tuple[str, ...] = ()


def tables(bench: Bench) -> list[TextTable]:
    """Speed on each workload, what a fresh process needs, scores, and the machine's limit."""
    found = [*_speed(bench), *_footprints(bench.footprints), *_scores(bench)]
    if bench.peaks:
        rows = [
            [peak.precision, peak.library, "×".join(map(str, peak.size)), _giga(peak.flops_per_s)]
            for peak in bench.peaks
        ]
        header = ["precision", "library", "rows×inputs×outputs", "GFLOP/s"]
        found.append(TextTable(f"Fastest matrix products, {bench.threads} threads", header, rows))
    return found


def shortened(bench: Bench) -> tuple[Bench, list[str]]:
    """The same with short names of the models, and a sentence for each on what it stands for."""
    short = short_names(timing.name for timing in bench.timings)
    renamed: dict[str, Any] = {
        field: [dataclasses.replace(one, name=short[one.name]) for one in getattr(bench, field)]
        for field in ("timings", "footprints", "scores")
    }
    legend = [f"{name} is {whole}." for whole, name in short.items() if name != whole]
    return dataclasses.replace(bench, **renamed), legend


def workload_title(timing: Timing) -> str:
    """``batch 8, 128 tokens``, or the data's own lengths."""
    if timing.lengths == "fixed":
        return f"batch {timing.batch}, {timing.length} tokens"
    how = "" if timing.batch == 1 else f", {timing.lengths}"
    return f"batch {timing.batch}, the data's lengths (mean {timing.length}){how}"


def _speed(bench: Bench) -> list[TextTable]:
    """A table for each workload, the fastest first, those that did not run as notes."""
    entries: dict[str, list[tuple[Timing, float | None, float | None]]] = {}
    for entry in zip(bench.timings, speedups(bench.timings), bench.shares(), strict=True):
        entries.setdefault(workload_title(entry[0]), []).append(entry)
    metric = next((score.metric for score in bench.scores if score.score is not None), None)
    early = any(timing.executed is not None for timing in bench.timings)
    header = ["model", "backend", "ms", *(MIX if early else ()), "p95 ms", "seq/s", "tokens/s", "speed"]
    header += ["of peak"] if bench.peaks else []
    header += ["passes"]
    header += [] if metric is None else [metric]
    found = []
    for title, here in entries.items():
        ran = sorted((e for e in here if e[1] is not None), key=lambda entry: -(entry[1] or 0))
        best = next((entry[0] for entry in ran if bench.agrees(entry[0])), None)
        rows = [
            [
                t.name, t.backend, _ms(t.median_ms), *(_mix(t) if early else []), _ms(t.p95_ms),
                _rate(t.sequences_per_s or 0),
                numbers.count(t.tokens_per_s or 0), f"{BEST if t is best else ''}{factor:.2f}x",
                *([_percent(share)] if bench.peaks else []), str(t.runs),
                *([] if metric is None else [_scored(bench.score_of(t))]),
            ]
            for t, factor, share in ran
        ]  # fmt: skip
        what = "fastest" if not ran or best is ran[0][0] else "fastest that answers as fp32 does"
        skipped = [f"{t.name}, {t.backend}: {t.skipped}" for t, factor, _ in here if factor is None]
        title = f"{title[:1].upper()}{title[1:]}: median of a pass; {BEST} {what}"
        found.append(TextTable(title, header, rows, _once(skipped), SPARE))
    return found


def _mix(timing: Timing) -> list[str]:
    """What the texts decide of a model with exits."""
    counts = timing.executed
    through = "all" if counts is None else f"{np.average(np.arange(len(counts)) + 1, weights=counts):.2f}"
    return [_ms(timing.mean_ms), through]


def _once(notes: list[str]) -> list[str]:
    """One note for the same reason under several back-ends of a model."""
    joined: dict[tuple[str, str], list[str]] = {}
    for note in notes:
        who, _, why = note.partition(": ")
        name, _, backend = who.rpartition(", ")
        joined.setdefault((name, why), []).append(backend)
    return [f"{name}, {'/'.join(backends)}: {why}" for (name, why), backends in joined.items()]


def _footprints(footprints: Sequence[Footprint]) -> list[TextTable]:
    ran = [found for found in footprints if found.start_s is not None]
    if not ran:
        return []
    rows = [
        [
            f.name, f.backend, numbers.NONE if f.disk_bytes is None else numbers.size(f.disk_bytes),
            f"{f.start_s:.2f}", f"{f.import_s:.2f}", f"{f.load_s:.2f}", f"{f.first_s:.2f}",
            numbers.NONE if f.peak_bytes is None else numbers.size(f.peak_bytes),
        ]
        for f in sorted(ran, key=lambda found: found.start_s or 0)
    ]  # fmt: skip
    header = ["model", "backend", "disk", "start s", "import", "load", "first", "memory"]
    spare = ("first", "load", "import")
    largest = f"batch {ran[0].batch} of {ran[0].length} tokens"
    title = f"In a fresh process: seconds to the first answer, most memory up to {largest}"
    return [TextTable(title, header, rows, spare=spare)]


def _scores(bench: Bench) -> list[TextTable]:
    ran = [score for score in bench.scores if score.score is not None]
    if not ran:
        return []
    best_first = sorted(ran, key=lambda s: -metric(s.metric).rank(s.score or 0))
    rows = [
        [s.name, s.backend, _scored(s), numbers.NONE if s.agreement is None else percent(s.agreement)]
        for s in best_first
    ]
    notes = [f"{s.name}, {s.backend}: {s.skipped}" for s in bench.scores if s.score is None]
    title = f"Score on {ran[0].n_examples:,} {bench.split} rows"
    return [TextTable(title, ["model", "backend", ran[0].metric, "as fp32"], rows, _once(notes))]


def _scored(score: Score | None) -> str:
    return "not scored" if score is None or score.score is None else numbers.hundredths(score.score, score.metric)


def _ms(time: float | None) -> str:
    return numbers.milliseconds(time or 0).removesuffix(" ms")


def _rate(value: float) -> str:
    return f"{value:.2g}" if value < 10 else numbers.count(value)


def _percent(share: float | None) -> str:
    return numbers.NONE if share is None else f"{100 * share:.0f} %"


def _giga(rate: float) -> str:
    return f"{rate / 1e9:,.0f}"
