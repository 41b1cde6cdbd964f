"""Whether a table of the device tells the truth: whole models of many shapes, predicted and then measured."""

from __future__ import annotations

import collections
import dataclasses
import random
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch

from ...encoder import LayerShape, TrimformerConfig
from ...encoder.parts.attention.base import with_heads
from ...encoder.shape.kinds import ATTENTION, LAYERS, stand_ins
from ...errors import TrimformerError
from ...threads import torch_threads
from ..bench.latency import make_workloads, time_variants
from ..bench.variants import make_variants
from .table import LatencyTable, Model

VARIED = 6


@dataclasses.dataclass(frozen=True)
class Check:
    """One model under one back-end at one size. error: predicted over measured, less 1."""

    model: str
    backend: str
    batch: int
    length: int
    predicted_ms: float
    measured_ms: float
    error: float


def check(model: Model, tables: Sequence[LatencyTable], *, count: int = VARIED, seed: int = 0) -> list[Check]:
    """The model as it is, and ``count`` smaller forms of it with random layers, predicted and measured by each table.

    The measured time is the median of at least ten passes, all models of a back-end taking turns.
    """
    models = {"as it is": model} | varied(model, count, seed)
    found = []
    for backend, threads in dict.fromkeys((table.backend, table.threads) for table in tables):
        of_backend = [table for table in tables if (table.backend, table.threads) == (backend, threads)]
        with tempfile.TemporaryDirectory() as folder, torch_threads(threads):
            variants = make_variants(models, [backend], threads, Path(folder))
            workloads = make_workloads(variants, [(table.batch, table.length) for table in of_backend])
            timings = time_variants(variants, workloads, threads=threads)
        for index, timing in enumerate(timings):
            if timing.median_ms is None:
                raise TrimformerError(f"{timing.name} cannot be measured under {backend}: {timing.skipped}")
            predicted = of_backend[index // len(models)].predict(models[timing.name].config)
            error = predicted / timing.median_ms - 1
            found.append(Check(timing.name, backend, timing.batch, timing.length, predicted, timing.median_ms, error))
    return found


def median_error(checks: Sequence[Check]) -> float:
    """The median of the errors, whatever their sign."""
    return statistics.median(abs(check.error) for check in checks)


def varied(model: Model, count: int, seed: int) -> dict[str, Model]:
    """Models with layers of random kinds, heads and units, none larger than the model's; named by their kinds."""
    config, generator = model.config, random.Random(seed)
    models: dict[str, Model] = {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for number in range(1, count + 1):
            mixes = LAYERS[config.layer_kind].mixes  # such layers have nothing inside that could be another
            shapes = config.shapes if mixes else [_layer(config, shape, generator) for shape in config.shapes]
            kinds = collections.Counter(shape.attention for shape in shapes)
            name = f"{number}: " + ", ".join(f"{kinds[kind]} {kind}" for kind in ATTENTION if kinds[kind])
            free = TrimformerConfig.from_dict(config.to_dict() | {"sharing": None})
            models[name] = type(model)(free.with_shapes(shapes)).eval()
    return models


def _layer(config: TrimformerConfig, shape: LayerShape, generator: random.Random) -> LayerShape:
    """Half of the layers attend. Units are a multiple of 8, as in models that were pruned for speed."""
    most = max(shape.ffn for shape in config.shapes)
    units = generator.randint(max(1, most // 8), most)
    attending = [name for name, kind in ATTENTION.items() if kind.attends and any(kind.knots(config, shape))]
    kind = generator.choice([generator.choice(attending), generator.choice(stand_ins())])
    other = ATTENTION[kind].shaped(shape, query_key=None)
    fewer = with_heads(other, generator.randint(1, shape.heads))
    return dataclasses.replace(fewer, ffn=units - units % 8 or units)
