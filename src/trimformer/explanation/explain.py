"""``explain``: sensitivity on the data, the table of the device, and the model's files timed and scored."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from accelerate import PartialState

from ..console import Ticker
from ..cores import usable_cores
from ..deploy.agreement import agreement
from ..encoder.checkpoints.load import load_tokenizer, load_with_head, resolve
from ..encoder.model.exits import without_exits
from ..encoder.model.heads import TrimformerWithHead
from ..encoder.parts.attention.base import with_heads
from ..encoder.shape.config import LayerShape
from ..encoder.shape.gates import Gates
from ..encoder.shape.kinds import ATTENTION
from ..hardware import hardware
from ..measure.bench.latency import Timing
from ..measure.bench.score import validation
from ..measure.bench.target import TIE
from ..measure.bench.variants import Variant, make_variants, precision
from ..measure.bench.workload import fixed
from ..measure.device.pieces import latency_tables
from ..measure.device.table import LatencyTable
from ..measure.significance import paired_test
from ..methods import Context
from ..pipeline.head import read_for, why_train
from ..pipeline.results import default_lengths
from ..recipe.reading import checked_task
from ..report import numbers
from ..saved.exits import executed_words
from ..search.conclusion import seen_rows
from ..search.measurement import DENSE, installed, logits_of, timed
from ..search.sensitivity import sensitivity
from ..tasks.data import Task
from ..tasks.encode import read_rows
from ..tasks.encoding.batches import drawn_rows
from ..tasks.encoding.encoded import Encoded
from ..tasks.labels import names_of
from ..tasks.outcome import outcome
from ..tasks.settings import TaskSettings
from ..tasks.task import check_kind, load_task, with_label_order
from ..training.evaluate import Executed, mean_loss, predict_logits
from ..training.settings import ObjectiveSettings, TrainingSettings
from .advice import conclude, suggest
from .depth import depth
from .findings import Explanation, FileFinding, LayerFinding

REUSED = (
    "Only validation rows were given: int8 was calibrated on the rows that it is scored on, and a structure that is "
    "chosen by what stands here should not be reported on them."
)

UNTRAINED = (
    "WARNING: On these rows the checkpoint's head {why}: what stands here says little of a model that is trained for "
    "them, as compress would make it first."
)

ROWS = 512
"""Rows that everything before training is estimated on."""


def explain(
    model: str | Path,
    task: TaskSettings | dict[str, Any],
    *,
    batch: int = 1,
    length: int | None = None,
) -> Explanation:
    """What matters in a fine-tuned model on this data, what it costs on this machine, and what to do; no training.

    task: data and columns. The rows looked at are the selection split of the training rows, as in a search for a
    structure, or the validation rows where only those are given. batch, length: sequences of a pass and tokens of each,
    for all that is timed; None: the mean length of the rows, rounded up to a multiple of 8. All cores are used.

    Importance is first-order (Michel et al., 2019; DynaBERT, Hou et al., 2020). The table of the device is kept in the
    user's cache, see :func:`trimformer.latency_tables`.

    Raises TrimformerError for a model without a head or with other labels than the data, for every mistake in the
    settings or the data, for sizes that the model cannot take, and where no runtime for files is installed.
    """
    settings = checked_task(task)
    net, exact = load_with_head(model), installed()[0]
    known, rows, calibration, reading = _rows(model, net, settings)
    split = "validation" if settings.validation_only else "selection"
    exits = exit_notes(net, rows, split)
    net = read_for(without_exits(net), known)
    size = default_lengths(rows)[0] if length is None else length
    threads = usable_cores()
    (table,) = latency_tables(net, batch=[batch], length=[size], threads=threads, backends=[exact])
    context = _context(net, known, rows)
    drawn = drawn_rows(len(rows), ROWS, context.seed)
    net.to(context.accelerator.device)

    def loss_with(gates: Gates | None) -> float:
        return mean_loss(net, rows, rows=drawn, gates=gates)

    fresh = why_train(net, known, rows)
    found, loss = sensitivity(context, ROWS, loss_with), loss_with(None)
    needed = None if exits else depth(net, calibration, rows, context.seed)
    files, skipped = _files(net.cpu(), known, rows, calibration, (batch, size, threads))
    shapes, times = net.config.shapes, table.by_layer(net.config)
    saved = [_saved(table, shapes, index) for index in range(len(shapes))]
    layers = [
        LayerFinding(shape.attention, attention, without, heads, units, *ms, *halves)
        for shape, attention, without, heads, units, ms, halves in zip(
            shapes, found.attention, found.layers, found.heads, found.units, times, saved, strict=True
        )
    ]
    result = Explanation(
        model=str(model), task=known.name, source=known.source, metric=known.metrics[0],
        split=split, rows=len(rows.examples), drawn=len(drawn),
        batch=batch, length=size, threads=threads, hardware=hardware(), loss=loss, layers=layers,
        table_backend=exact, rest_ms=table.pieces["rest"][0], files=files, depth=needed,
        notes=[
            *([REUSED] if settings.validation_only else seen_rows(known.kind)),
            *([UNTRAINED.format(why=fresh)] if fresh else []), *exits, *patterns(table, shapes), *skipped, *reading,
        ],
    )  # fmt: skip
    recipe, why = suggest(result, net.config, settings, batch, length)
    return dataclasses.replace(result, recipe=recipe, conclusion=[*conclude(result), why])


def exit_notes(net: TrimformerWithHead, rows: Encoded, split: str) -> list[str]:
    """How many layers the rows need of a model with exits; nothing of another."""
    counted = Executed(net)
    if counted.counts is None:
        return []
    predict_logits(counted, rows)
    said = executed_words(counted.counts, f"{split} texts")
    return [f"The model has exits: {said} All else here is of the model without them."]


def _saved(table: LatencyTable, shapes: Sequence[LayerShape], index: int) -> tuple[float, float]:
    """Milliseconds that a layer would save with half of its heads, and of its units."""

    own = shapes[index]
    halves = with_heads(own, -(-own.heads // 2)), dataclasses.replace(own, ffn=-(-own.ffn // 2))
    heads, units = (table.predict([*shapes[:index], half, *shapes[index + 1 :]]) for half in halves)
    whole = table.predict(shapes)
    return whole - heads, whole - units


def patterns(table: LatencyTable, shapes: Sequence[LayerShape]) -> list[str]:
    """Whether the patterns in which layers attend pay here; nothing where there are none."""
    dense = [ATTENTION[shape.attention].without_pattern(shape) for shape in shapes]
    count = sum(one != other for one, other in zip(shapes, dense, strict=True))
    if not count:
        return []
    ms, full = table.predict(shapes), table.predict(dense)
    pays = "The pattern pays here" if full >= TIE * ms else "The pattern does not pay here"
    return [
        f"{pays}: {count} of {len(shapes)} layers attend in one, which takes {numbers.milliseconds(ms)}, and full "
        f"attention in these would take {numbers.milliseconds(full)} (batch {table.batch}, {table.length} tokens)."
    ]


def _rows(
    model: str | Path, net: TrimformerWithHead, settings: TaskSettings
) -> tuple[Task, Encoded, Encoded, list[str]]:
    """The task, the rows to look at, those that calibrate, and what is to be said of how the first are read."""
    if settings.validation_only:
        task, given, notes = validation(model, settings)
        return task, given, given, notes
    names, settings = names_of(net.config), settings.read_for(net.kind)
    data = with_label_order(load_task(settings, labels=names), names)
    check_kind(data.task, net.kind, str(model))
    how = (load_tokenizer(model), settings, net.config, resolve(model))
    selection, notes = read_rows(data.task, data.selection, *how, rows="selection")
    return data.task, selection, read_rows(data.task, data.train, *how)[0], notes


def _context(net: TrimformerWithHead, task: Task, rows: Encoded) -> Context:
    # An Accelerator would fix the precision of trainings that follow in this process, and only its device is needed.
    state: Any = PartialState()
    return Context(
        model=net, teacher=None, task=task, train=rows, selection=rows, training=TrainingSettings(),
        objective=ObjectiveSettings(), accelerator=state, seed=0, steps=0,
    )  # fmt: skip


def _files(
    net: TrimformerWithHead, task: Task, rows: Encoded, calibration: Encoded, sizes: tuple[int, int, int]
) -> tuple[list[FileFinding], list[str]]:
    """PyTorch and the files that run here, timed taking turns and scored; and why others did not run."""
    batch, length, threads = sizes
    made: list[Variant] = []
    names = ["torch", *installed()]
    with tempfile.TemporaryDirectory() as folder:
        with Ticker("Exporting", len(names)) as tick:
            for name in names:
                made += make_variants({DENSE: net}, [name], threads, Path(folder), calibration)
                tick.advance()
        variants = [variant for variant in made if variant.run is not None]
        logits = {variant.backend: logits_of(variant, rows) for variant in variants}
        times = [timing for _, timing in timed(variants, fixed(net.config, batch, length), threads)]
    outcomes = {backend: outcome(task, rows, found) for backend, found in logits.items()}
    before = outcomes["torch"]
    fastest = min(_ms(timing) for timing in times if precision(timing.backend) == "fp32")
    files = []
    for timing in times:
        after = outcomes[timing.backend]
        test = paired_test(before, after)
        found = FileFinding(
            timing.backend, precision(timing.backend), _ms(timing), fastest / _ms(timing),
            after.scores[task.metrics[0]], test.difference, test.low, test.high, test.interval, test.proves,
            agreement(rows, logits["torch"], logits[timing.backend]),
        )  # fmt: skip
        files.append(found)
    return files, [f"{variant.backend} did not run: {variant.skipped}" for variant in made if variant.run is None]


def _ms(timing: Timing) -> float:
    assert timing.median_ms is not None
    return timing.median_ms
