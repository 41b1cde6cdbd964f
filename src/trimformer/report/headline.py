"""What a run comes to, in one sentence: from the dense model as people run it to the file that one would deploy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

from ..deploy.agreement import agrees
from ..inference.runtimes.backends import FILE_BACKENDS
from ..inference.runtimes.segments import whole
from . import numbers
from .schema import ExportInfo, Headline, Latency, ModelInfo

STARTS = ("eager", "sdpa", "torch")
"""Under what the dense model is run today: the stock class, or this encoder where there is no stock class for it."""


def find(dense: ModelInfo, trimmed: ModelInfo, exported: Sequence[ExportInfo], gpu: bool) -> Headline | None:
    """The figures of the sentence; None where the two models were not timed on the same batch.

    At the start is the dense model under the first of ``STARTS`` that was timed, else under its first backend. At the
    end is the file that one would deploy: the fastest of the trimmed model's files that the run leaves, among those
    that answer at least 98 % of the validation rows as fp32 does (``deploy.agreement``). Where the run leaves none,
    and on a GPU, on which files do not run, it is the trimmed model in PyTorch. Both times are of the first batch and
    length that were measured.
    """
    order = {backend: place for place, backend in enumerate(STARTS)}
    begin = min(dense.latency_ms, key=lambda entry: order.get(entry.backend, len(order)), default=None)
    if begin is None:
        return None
    before = _times(dense, begin)
    after = {name: one for name, one in _times(trimmed, begin).items() if agrees(one.label_agreement)}
    known = {f"{one.folder}/{one.file}": name for name, one in reversed(FILE_BACKENDS.items())}
    ran = {known.get(str(whole(PurePath(one.file)))): one.file for one in exported}
    files = {} if gpu else {name: file for name, file in ran.items() if name in after}
    end = min((after[name] for name in files), key=lambda entry: entry.ms, default=after.get("torch"))
    if end is None:
        return None
    times = {name: one.ms for name, one in before.items()}
    given = steps(begin.backend, end.backend, times, end.ms)
    if (trimmed.params, trimmed.flops_per_example) == (dense.params, dense.flops_per_example):
        given["removal_factor"] = None  # what differs is noise
    return Headline(
        start=begin.backend,
        start_ms=begin.ms,
        start_score=dense.score,
        backend=end.backend,
        file=files.get(end.backend),
        ms=end.ms,
        score=end.score,
        metric=trimmed.metric,
        n_examples=trimmed.n_examples,
        batch=end.batch,
        length=end.length,
        threads=end.threads,
        early=trimmed.executed is not None,
        **given,
    )


def steps(start: str, backend: str, dense: Mapping[str, float], ms: float) -> dict[str, Any]:
    """What runtime, precision and removal gave on the way to a file, as fields of the headline.

    start, backend: at both ends. dense: milliseconds of the dense model by backend. ms: of the file. A factor is None
    where it is not known, or nothing changes there.
    """
    plain = exact_of(backend)
    same = dense.get(backend)
    return {
        "runtime_factor": None if plain == start else _factor(dense[start], dense.get(plain)),
        "precision": FILE_BACKENDS[backend].precision if backend in FILE_BACKENDS else "fp32",
        "precision_factor": None if plain == backend else _factor(dense.get(plain), same),
        "removal_factor": _factor(same, ms),
    }


def exact_of(backend: str) -> str:
    """The backend that runs the same model in fp32 under the same runtime."""
    if backend not in FILE_BACKENDS:
        return backend
    folder = FILE_BACKENDS[backend].folder
    return next(name for name, one in FILE_BACKENDS.items() if (one.folder, one.precision) == (folder, "fp32"))


def sentence(headline: Headline, score_name: str | None = None) -> str:
    """Both times, the factor between them, both scores, and what each step gave, as far as they are known.

    score_name: what the score is called; None: as the metric is.
    """
    texts = "a text" if headline.batch == 1 else f"a batch of {headline.batch} texts"
    factor = numbers.factor(headline.start_ms / headline.ms)
    times = f"{numbers.milliseconds(headline.start_ms)} → {numbers.milliseconds(headline.ms)}"
    said = f"{times} for {texts} of {headline.length} tokens: {factor}"
    if headline.start_score is not None and headline.score is not None:
        before, after = (
            numbers.hundredths(score, headline.metric, 1) for score in (headline.start_score, headline.score)
        )
        said += f", {score_name or headline.metric} {before} → {after}"
    steps: dict[str, float | None] = {
        "runtime": headline.runtime_factor,
        headline.precision: headline.precision_factor,
        "exits" if headline.early else "removed parts": headline.removal_factor,
    }
    given = [f"{name} {numbers.factor(step)}" for name, step in steps.items() if step is not None]
    return f"{said} ({', '.join(given)})." if given else f"{said}."


def explanation(headline: Headline) -> str:
    """What stands at both ends, and on how much it was measured, in one sentence."""
    end = "the trimmed model" if headline.file is None else headline.file
    threads = f"{headline.threads} thread{'' if headline.threads == 1 else 's'}"
    rows = f" and {headline.n_examples:,} validation rows" if headline.score is not None else ""
    return (
        f"That is from the dense model under {numbers.backend(headline.start)} to {end} under "
        f"{numbers.backend(headline.backend)}, measured in one run on {threads}{rows}."
    )


def _times(variant: ModelInfo, like: Latency) -> dict[str, Latency]:
    """The variant's times of the same batch on as many threads, by backend."""
    return {entry.backend: entry for entry in variant.latency_ms if entry.setting[1:] == like.setting[1:]}


def _factor(before: float | None, after: float | None) -> float | None:
    return None if before is None or after is None else before / after
