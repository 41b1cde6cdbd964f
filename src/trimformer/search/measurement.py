"""Which files a model can be exported to here, how fast they are beside each other, and what they score."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..deploy.agreement import agrees
from ..deploy.mend import Mended
from ..deploy.scoring import agreement_of, as_model
from ..deploy.thresholds import keep_thresholds, settle
from ..encoder.checkpoints.load import load_with_head
from ..errors import TrimformerError
from ..inference.runtimes.backends import FILE_BACKENDS, open_backend
from ..inference.runtimes.segments import together
from ..measure.bench.latency import Timing, time_variants
from ..measure.bench.variants import Variant, available_backends, make_variants, precision
from ..measure.bench.workload import Workload
from ..tasks.data import Task
from ..tasks.encoding.encoded import Encoded
from ..tasks.metric import Metric
from ..tasks.outcome import Outcome, outcome
from ..threads import torch_threads
from ..training.evaluate import predict_logits

DENSE = "dense"
REFERENCES = ("eager", "torch")
"""What speed-ups are over: the stock model, or this encoder where there is no stock class for it."""
TIMED = 32
"""Batches of real texts that are timed where a rough time is enough, in place of 256."""
PRECISIONS = ("fp32", "bf16", "int8")


class Scored(NamedTuple):
    """On the selection split: the official metric, and the share of the answers that are those of the model in fp32.

    agreement: with exits at the threshold of fp32; None where nothing in fp32 was scored beside it. mended: what stays
    in fp32 of an int8 file that would not agree else; None: nothing.
    """

    score: float
    agreement: float | None
    mended: Mended | None = None


Scores = dict[tuple[str, str], Scored]
"""By name and back-end."""
Kept = Callable[[str, Any, Callable[[], Any]], Any]
"""What :meth:`trimformer.pipeline.run_folder.RunFolder.kept` does."""


@dataclasses.dataclass(frozen=True)
class Measurement:
    """A model under a back-end, timed beside the others of its run.

    score, drop: on the selection split, the drop below the dense model in PyTorch, in points or the metric's unit.
    agreement, mended: see `Scored`.
    """

    timing: Timing
    score: float
    drop: float
    agreement: float | None = None
    mended: Mended | None = None

    @property
    def ms(self) -> float:
        """Milliseconds of a batch, of batches of several lengths the mean of their medians."""
        assert self.timing.sequences_per_s is not None
        return 1e3 * self.timing.batch / self.timing.sequences_per_s

    @property
    def price(self) -> float:
        return self.ms

    @property
    def is_file(self) -> bool:
        return self.timing.backend in FILE_BACKENDS

    @property
    def trusted(self) -> bool:
        """Whether it is a file that answers as fp32 does, as far as that is known."""
        return self.is_file and agrees(self.agreement)

    @property
    def scored(self) -> Scored:
        return Scored(self.score, self.agreement, self.mended)


def installed() -> list[str]:
    """The back-ends of files that run here, fp32 first. Raises TrimformerError where there is none."""
    # A .pt2 archive is for other programs: it is not opened in another process.
    found = [
        name
        for name in available_backends()
        if name in FILE_BACKENDS and FILE_BACKENDS[name].precision in PRECISIONS and name != "torch-export"
    ]
    if not found:
        raise TrimformerError('No runtime for files is installed: pip install "trimformer[onnx,openvino]".')
    return sorted(found, key=lambda name: PRECISIONS.index(FILE_BACKENDS[name].precision))


def variants_of(
    models: Mapping[str, Path], backends: Sequence[str], folder: Path, threads: int, calibration: Encoded
) -> list[Variant]:
    """Those of the models under the back-ends that run; files are written below ``folder`` where they are not yet.

    models: folders called ``model``, in folders that differ wherever the weights do.
    """
    made = [
        variant
        for name, path in models.items()
        for variant in make_variants(
            {name: load_with_head(path)}, backends, threads, folder / path.parent.name, calibration
        )
    ]
    return [variant for variant in made if variant.run is not None]


def with_thresholds(
    variants: Sequence[Variant], scores: Scores, task: Task, data: Encoded, threads: int, kept: Kept
) -> tuple[list[Variant], Scores]:
    """Files that round and whose texts leave early get thresholds that are chosen by their own answers on these rows,
    and are kept beside them; all other variants stay as they are."""
    found, scored = [], dict(scores)
    for one in variants:
        if one.path is not None and len(together(one.path)) > 1 and precision(one.backend) != "fp32":
            key = one.name, one.backend
            opened = partial(open_backend, one.path, one.backend, threads)
            choose = partial(_settled, opened, task, data)
            threshold = kept(f"settled-{one.name}-{one.backend}", float, choose)
            keep_thresholds(one.path.parent, {one.backend: threshold})
            one = one.run_by(opened())
            score = outcome_of(one, task, data).scores[task.metrics[0]]
            scored[key] = scored[key]._replace(score=score)
        found.append(one)
    return found, scored


def _settled(opened: Callable[[], Any], task: Task, data: Encoded) -> float:
    return settle(opened(), task, data)


def timed(variants: Sequence[Variant], workload: Workload, threads: int) -> Iterable[tuple[Variant, Timing]]:
    """Those that ran, timed taking turns."""
    with torch_threads(threads):
        timings = time_variants(variants, [workload], threads=threads)
    pairs = zip(variants, timings, strict=True)
    return [(variant, timing) for variant, timing in pairs if timing.sequences_per_s is not None]


def outcome_of(variant: Variant, task: Task, data: Encoded) -> Outcome:
    """What a variant answers on a split."""
    return outcome(task, data, logits_of(variant, data))


def logits_of(variant: Variant, data: Encoded) -> np.ndarray:
    """The logits of a variant on a split."""
    assert variant.run is not None
    return predict_logits(as_model(variant.run), data, title=f"Scoring {variant.name}, {variant.backend}")


def scores_of(variants: Sequence[Variant], task: Task, data: Encoded) -> Scores:
    """What the variants' answers on a split are worth, and how many are those of the first in fp32 of its name."""
    found: Scores = {}
    exact: dict[str, np.ndarray] = {}
    for one in sorted(variants, key=lambda variant: precision(variant.backend) != "fp32"):
        logits = logits_of(one, data)
        if precision(one.backend) == "fp32":
            exact.setdefault(one.name, logits)
        same = agreement_of(one.session, data, exact[one.name], logits) if one.name in exact else None
        found[one.name, one.backend] = Scored(outcome(task, data, logits).scores[task.metrics[0]], same)
    return found


def measurements_of(
    variants: Sequence[Variant], scores: Scores, workload: Workload, threads: int, metric: Metric
) -> list[Measurement]:
    """Those that ran, timed taking turns, with their scores, among which is that of the dense model in PyTorch."""
    exact = scores[DENSE, "torch"].score
    found = []
    for variant, timing in timed(variants, workload, threads):
        score, same, kept = scores[variant.name, variant.backend]
        found.append(Measurement(timing, score, metric.drop(score - exact), same, kept))
    return found
