"""The whole benchmark: speed, score, memory, start-up and the distance to the machine's limit, in one run."""

from __future__ import annotations

import dataclasses
import itertools
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...console import Ticker
from ...deploy.writers import INT8
from ...encoder.checkpoints.load import has_head, load_tokenizer, read_config, read_kind
from ...errors import TrimformerError
from ...hardware import hardware
from ...inference.batches import tokenise
from ...inference.predict.rows import format_of, split
from ...saved.exits import executed_words
from ...saved.tokenizer_check import reading_notes, some_texts
from ...tasks.cuts import cuts_of
from ...tasks.encode import encode
from ...tasks.encoding.encoded import Encoded
from ...tasks.labels import names_of
from ...tasks.settings import TaskSettings
from ...tasks.task import load_task
from ...threads import torch_threads
from .budget import Budget, Preparing, time_within
from .latency import Timing, make_workloads, speedups, time_variants
from .peak import Peak, best, matrix_peaks
from .process import Footprint, footprint
from .score import Score, score_variants, tokenizer_folder, validation
from .variants import MAIN, Model, available_backends, make_variants, named, precision

TEXTS = 4096
"""Texts that are read of a file."""
CALIBRATION = 300
BATCHES = (1, 8)
REPEATS, TURNS = 10, 3
MENDS = "trimformer export leaves those maps in fp32 that cost an int8 file its answers: time the file that it writes."


@dataclasses.dataclass(frozen=True)
class Texts:
    """A file of texts without labels, whose lengths are to be measured; columns as ``predict`` takes them."""

    file: Path
    text: str | None = None
    text_pair: str | None = None
    max_length: int | None = None


@dataclasses.dataclass(frozen=True)
class Bench:
    """Everything that was measured in one run. scores: empty without a task; split: of which rows they are.

    reading: what is odd about how the texts of a file without a task were read. left_out: what was not measured, so
    that the answer came within a minute.
    """

    hardware: dict[str, str]
    threads: int
    timings: list[Timing]
    footprints: list[Footprint]
    peaks: list[Peak]
    scores: list[Score]
    split: str = "validation"
    reading: list[str] = dataclasses.field(default_factory=list)
    left_out: list[str] = dataclasses.field(default_factory=list)

    def shares(self) -> list[float | None]:
        """Each timing's share of the measured peak of its precision; None where either is not known."""
        peaks = {peak.precision: peak.flops_per_s for peak in self.peaks}
        return [
            timing.flops_per_s / peaks[kind]
            if timing.flops_per_s is not None and (kind := precision(timing.backend)) in peaks
            else None
            for timing in self.timings
        ]

    def notes(self) -> list[str]:
        """Which variants answer otherwise than fp32, and how the texts were read and cut."""
        warnings = [score.warning for score in self.scores if score.warning]
        if any(score.warning and score.backend in INT8 for score in self.scores):
            warnings.append(MENDS)
        read = list(dict.fromkeys(f"{score.name}: {score.said}" for score in self.scores if score.said))
        lower = [t for t in self.timings if t.median_ms is not None and precision(t.backend) != "fp32"]
        unknown = list(dict.fromkeys(f"{t.name} under {t.backend}" for t in lower if not self._is_compared(t)))
        if unknown:
            warnings.append(
                f"Times alone: the answers of {', '.join(unknown)} were not compared with those of fp32, which takes "
                "--task and a back-end in fp32."
            )
        early = [f"{t.name} under {t.backend}: {executed_words(t.executed)}" for t in self.timings if t.executed]
        return [*warnings, *dict.fromkeys(early), *self.reading, *read, *self._less()]

    def _less(self) -> list[str]:
        if not self.left_out:
            return []
        what = ", ".join(self.left_out)
        return [f"Left out to answer within a minute: {what}; --thorough measures all, --backends and --batch some."]

    def agrees(self, timing: Timing) -> bool:
        """Whether the variant may be recommended, as far as its answers are known."""
        score = self.score_of(timing)
        return score is None or not score.warning

    def _is_compared(self, timing: Timing) -> bool:
        score = self.score_of(timing)
        return score is not None and score.agreement is not None

    def score_of(self, timing: Timing) -> Score | None:
        """The score of the variant that was timed."""
        found = (s for s in self.scores if (s.name, s.backend) == (timing.name, timing.backend))
        return next(found, None)

    def as_json(self) -> dict[str, Any]:
        """Plain values; each timing with its speed-up over the first of its workload and its share of the peak."""
        values = dataclasses.asdict(self)
        for entry, factor, share in zip(values["timings"], speedups(self.timings), self.shares(), strict=True):
            entry |= {"speedup": factor, "peak_share": share}
        return values | {"notes": self.notes()}


def bench(
    models: Sequence[str | Path | Model] | Mapping[str, str | Path | Model],
    *,
    batch: Sequence[int] | None = None,
    length: Sequence[int] = (128,),
    texts: Texts | None = None,
    task: TaskSettings | None = None,
    threads: int = 2,
    backends: Sequence[str] | None = None,
    fresh: bool | None = None,
    thorough: bool = False,
    repeats: int | None = None,
    seconds: float = 5.0,
    done: Callable[[list[Timing]], None] = lambda _: None,
) -> Bench:
    """Measure variants. The arguments are those of :func:`trimformer.measure.bench.latency.benchmark`, and:

    texts, task: give the data's own lengths; a task also the score of every variant on its validation rows.
    thorough: measure all, however long it takes. Else the answer is to come within a minute (a task's scores take what
    they take): of the back-ends those that matter most, few turns where a model is slow, no limit of the machine.
    backends: None = all that are installed here if thorough, else the main ones, calibrated files as time allows.
    batch: None = 1 and 8, if not thorough 8 as time allows. fresh: start every variant in a process of its own as well;
    None = if thorough. repeats: None = 10 if thorough, else 3. done: is called with the timings of each workload.

    What needs calibration gets it from the task's training rows, or from the texts; else from random tokens.
    """
    given = named(models)
    sizes = list(itertools.product(batch or BATCHES, length)) if batch is None or batch else []
    repeats = repeats if repeats is not None else REPEATS if thorough else TURNS
    if not given or not sizes or min(threads, repeats, *itertools.chain(*sizes)) < 1:
        raise TrimformerError("Give a model, and batch sizes, lengths and threads of at least 1.")
    budget = Budget(len(given))
    installed = available_backends()
    main = [name for name in installed if thorough or name in MAIN]
    fresh = thorough if fresh is None else fresh
    data, calibration, reading = _data(given, texts, task)
    with tempfile.TemporaryDirectory() as folder, torch_threads(threads):
        wanted = backends or main
        with Ticker("Preparing", len(given) * len(wanted), quiet=0) as tick:
            begin = Preparing(tick, list(given), (lambda _: True) if backends or thorough else budget.allows)
            variants = make_variants(given, wanted, threads, Path(folder), calibration, begin)
        workloads = make_workloads(variants, sizes, data)
        peaks = matrix_peaks(threads) if thorough else []
        if thorough:
            timings = time_variants(variants, workloads, threads=threads, repeats=repeats, seconds=seconds, done=done)
            peaks = best(peaks, matrix_peaks(threads))  # twice, because a machine's speed changes
        else:
            asked = batch or BATCHES[:1]
            timings = time_within(budget, variants, workloads, asked, threads, repeats, seconds, done)
        scores = score_variants(variants, given, task) if task is not None else []
        footprints = []
        with Ticker("Starting each alone", len(variants) * fresh) as tick:
            for variant in variants * fresh:
                footprints.append(footprint(variant, *max(sizes, key=lambda size: size[0] * size[1]), threads))
                tick.advance()
        left_out = (
            [] if thorough else _left_out(budget, [] if backends else [n for n in installed if n not in main], fresh)
        )
        return Bench(hardware(), threads, timings, footprints, peaks, scores, reading=reading, left_out=left_out)


def _left_out(budget: Budget, others: Sequence[str], fresh: bool) -> list[str]:
    start = [] if fresh else ["start-up and memory"]
    return [*budget.left_out, *others, *start, "the machine's limit"]


def _data(
    models: Mapping[str, Any], texts: Texts | None, task: TaskSettings | None
) -> tuple[Encoded | None, Encoded | None, list[str]]:
    """The rows whose lengths are measured, those that calibrate, and what is odd about how they were read.

    They are read as the first model with a tokenizer reads them; how those of a task are read is told with the scores.
    """
    if texts is None and task is None:
        return None, None, []
    model = next((model for model in models.values() if _has_tokenizer(model)), None)
    if model is None:
        raise TrimformerError("None of these has a tokenizer to read the data with: add a model folder or hub id.")
    if task is not None:
        return validation(model, task)[1], _training_rows(model, task), []
    assert texts is not None
    data = read_texts(model, texts)
    folder = tokenizer_folder(model)
    return data, data, reading_notes(load_tokenizer(folder), folder, some_texts(data.examples.texts))


def _has_tokenizer(model: Any) -> bool:
    try:
        load_tokenizer(tokenizer_folder(model))
    except TrimformerError:
        return False
    return True


def _training_rows(model: Any, settings: TaskSettings) -> Encoded | None:
    """Some training rows; None where only a validation file was given."""
    if settings.validation_only:
        return None
    folder = tokenizer_folder(model)
    data = load_task(settings.read_for(read_kind(folder)), labels=names_of(read_config(folder)))
    rows = data.train.take(range(min(CALIBRATION, len(data.train))))
    tokenizer = load_tokenizer(folder)
    cuts = cuts_of(settings, tokenizer, read_config(folder).max_tokens)
    return encode(data.task, rows, tokenizer, **cuts._asdict())


def read_texts(model: Any, texts: Texts) -> Encoded:
    """The first texts of a file as a model reads them; raises TrimformerError where there is none that it can read."""
    if texts.file.is_dir():
        raise TrimformerError(f"{texts.file} is a folder: name a file in it.")
    if not texts.file.is_file():
        raise TrimformerError(f"There is no file {texts.file}: give a text file, JSONL, CSV or TSV, or name a --task.")
    folder = tokenizer_folder(model)
    kind = read_kind(folder) if has_head(folder) else "classification"  # a bare encoder reads couples, too
    form = format_of(str(texts.file), kind, texts.text, texts.text_pair, texts.file)
    with texts.file.open("rb") as source:
        rows = list(itertools.islice((row for piece in split(source, form.ending) for row in form.read(piece)), TEXTS))
    if not rows:
        raise TrimformerError(f"{texts.file} holds no texts: give a file with at least one.")
    tokenizer = load_tokenizer(folder)
    settings, longest = TaskSettings(max_length=texts.max_length), read_config(folder).max_tokens
    return tokenise(kind, rows, tokenizer, cuts_of(settings, tokenizer, longest, has_head=has_head(folder)))
