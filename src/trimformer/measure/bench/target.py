"""Which exported file is best for a purpose on this machine: measured, not guessed."""

from __future__ import annotations

import dataclasses
import math
import tempfile
from collections.abc import Sequence
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from ...cores import usable_cores
from ...deploy.agreement import agrees, percent
from ...deploy.export import ExportedFile, Model, export_all, notes_of, save_tokenizer, scorer_for, thresholds_of
from ...deploy.pieces import segments_of
from ...deploy.thresholds import keep_thresholds
from ...errors import TrimformerError, explain_write_errors
from ...hardware import cpu_flags
from ...inference.runtimes.backends import FILE_BACKENDS, open_backend, parts
from ...inference.runtimes.exits import executed_of
from ...tasks.encoding.encoded import Encoded
from ...tasks.metric import metric, within
from ...tasks.settings import TaskSettings
from .latency import NEEDS_TEXTS, time_variants
from .variants import Variant, available_backends
from .workload import fixed, own_lengths

SHAPES = {"latency": ((1, 32), (1, 128)), "throughput": ((16, 32), (4, 128))}
"""(batch, length) that are timed; 512 tokens in a batch are what the predictor takes."""
TARGETS = (*SHAPES, "size")
TIE = 1.05
"""Among the files at most `TIE` times worse than the best, the one nearest to PyTorch is taken."""
INT8_FLAGS = {"avx512_vnni", "avx_vnni", "amx_int8"}


@dataclasses.dataclass(frozen=True)
class MeasuredFile:
    """milliseconds: median for each of the target's shapes, none for ``size``. value: what is to be small."""

    file: ExportedFile
    milliseconds: list[float]
    value: float


@dataclasses.dataclass(frozen=True)
class Choice:
    """The file that was written, why, and what it was chosen from."""

    chosen: ExportedFile
    why: str
    notes: list[str]
    candidates: list[MeasuredFile]


def export_for(
    target: str,
    model: Model,
    folder: str | Path,
    tokenizer: PreTrainedTokenizerBase | None = None,
    task: TaskSettings | None = None,
    max_drop: float | None = None,
) -> Choice:
    """Write the file that is best for ``latency``, ``throughput`` or ``size``, of all that run here.

    latency: one text of 32 and of 128 tokens; throughput: batches of 512 tokens of the same lengths; the geometric mean
    counts. A model with exits is timed on the validation rows of the task, in batches of these sizes.
    task: no file that loses more than ``max_drop`` on its validation rows is taken, in points, or of an error in its
    own unit; None: half a point, or half a percent of the error. None that answers otherwise than fp32 is taken either,
    on these rows or, without a task, on random inputs.

    Raises TrimformerError for an unknown target, and as :func:`trimformer.export` does.
    """
    if target not in TARGETS:
        raise TrimformerError(f"There is no target {target!r}: use one of {', '.join(TARGETS)}.")
    # A .pt2 archive is for other programs: it is not opened in another process.
    names = [name for name in available_backends() if name in FILE_BACKENDS and name != "torch-export"]
    if not names:
        raise TrimformerError('No runtime is installed: pip install "trimformer[onnx,openvino]".')
    if segments_of(model) > 1 and task is None and target != "size":
        raise TrimformerError(f"The model {NEEDS_TEXTS}")
    folder = Path(folder)
    scorer = scorer_for(model, tokenizer, task)
    with explain_write_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".target-") as scratch:
            files = export_all(model, scratch, names, None, scorer)
            candidates = _measured(target, model, files, None if scorer is None else scorer.validation)
            if max_drop is None:
                max_drop = 0.5 if scorer is None else scorer.task.metric.small(scorer.reference)
            chosen = choose(candidates, max_drop)
            for part in parts(chosen.file.path):
                part.replace(folder / part.name)
        save_tokenizer(model, folder, tokenizer)
        if segments_of(model) > 1:
            keep_thresholds(folder, thresholds_of([chosen.file]))
    written = dataclasses.replace(chosen.file, path=folder / chosen.file.path.name)
    notes = _notes(target, candidates, max_drop)
    if scorer is not None:  # first, for a score may hide it
        notes = [*scorer.balance(chosen.file.backend), *notes, *scorer.notes]
    return Choice(written, _why(target, chosen, candidates), notes, candidates)


def choose(candidates: Sequence[MeasuredFile], max_drop: float) -> MeasuredFile:
    """The best that answers as fp32 does and loses little enough; of those about as good the most exact."""
    allowed = [one for one in candidates if agrees(one.file.agreement) and not _loses(one, max_drop)]
    allowed = allowed or [one for one in candidates if one.file.precision == "fp32"]
    best = min(one.value for one in allowed)
    return min((one for one in allowed if one.value <= TIE * best), key=lambda one: one.file.max_abs_error)


def _loses(candidate: MeasuredFile, max_drop: float) -> bool:
    drop = candidate.file.score_drop
    return drop is not None and not within(drop, max_drop)


def _lost(candidate: MeasuredFile) -> str:
    """The drop in words."""
    return metric(candidate.file.metric or "").lost(candidate.file.score_drop or 0.0)


def _measured(target: str, model: Model, files: Sequence[ExportedFile], texts: Encoded | None) -> list[MeasuredFile]:
    """texts: what a model is timed on whose texts may leave early."""
    if target == "size":
        return [MeasuredFile(file, [], file.bytes) for file in files]
    threads = usable_cores()
    sessions = [open_backend(file.path, file.backend, threads) for file in files]
    variants = [
        Variant("The model", file.backend, session.run, executed=executed_of(session, model.config))
        for file, session in zip(files, sessions, strict=True)
    ]
    if texts is not None and segments_of(model) > 1:
        batches = list(dict.fromkeys(batch for batch, _ in SHAPES[target]))
        workloads = [one for one in own_lengths(texts, batches) if one.lengths == "bucketed" or one.batch == 1]
    else:
        longest = model.config.max_tokens
        workloads = [fixed(model.config, batch, min(n, longest), seed=0) for batch, n in SHAPES[target]]
    timings = time_variants(variants, workloads, threads=threads, seconds=2.0)
    found = []
    for index, file in enumerate(files):
        times = [timing.mean_ms or math.inf for timing in timings[index :: len(files)]]
        found.append(MeasuredFile(file, times, math.prod(times) ** (1 / len(times))))
    return found


def _why(target: str, chosen: MeasuredFile, candidates: Sequence[MeasuredFile]) -> str:
    exact = [one for one in candidates if one.file.precision == "fp32"]
    best = min(exact, key=lambda one: one.value)
    what = {"latency": "fastest for one text", "throughput": "fastest for batches", "size": "smallest"}[target]
    against = f", {best.value / chosen.value:.2f} times as good as the best in fp32 ({best.file.backend})"
    unknown = "its score is not known because no data was given"
    score = unknown if chosen.file.score_drop is None else f"it loses {_lost(chosen)}"
    if chosen.file.agreement is not None:
        at = "" if chosen.file.threshold is None else ", at the threshold of fp32,"
        score += f", and{at} it answers {percent(chosen.file.agreement)} of the {chosen.file.asked} as fp32 does"
    said = f"{chosen.file.backend}: the {what} here{'' if chosen is best else against}; {score}."
    if chosen.file.agreement is None and chosen.file.precision != "fp32":
        said += (
            " WARNING: A bare encoder has no answers, so that this file could not be compared with fp32 by them: "
            "compare what you use its outputs for, or export with --precision fp32."
        )
    return said


def _notes(target: str, candidates: Sequence[MeasuredFile], max_drop: float) -> list[str]:
    files = [one.file for one in candidates]
    notes = notes_of(files)
    if notes and files[0].score is None:
        notes.append("Random inputs are a harder test than texts: give data (--validation or --task) to ask those.")
    notes += [
        f"{one.file.backend} is left out: it loses {_lost(one)}, more than {max_drop:g}."
        for one in candidates
        if _loses(one, max_drop)
    ]
    int8 = [one.value for one in candidates if one.file.precision == "int8"]
    others = [one.value for one in candidates if one.file.precision in ("fp32", "bf16")]
    if target != "size" and int8 and min(int8) >= min(others):
        reason = "" if INT8_FLAGS & cpu_flags() else ", which has no instructions for it (VNNI, AMX)"
        notes.append(f"int8 does not pay on this CPU{reason}: {min(int8):.2f} ms against {min(others):.2f} ms.")
    return notes
