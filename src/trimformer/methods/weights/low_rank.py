"""Linear maps become two thin ones, the best of their rank, which are then trained.

Noach and Goldberg, "Compressing Pre-trained Language Models by Matrix Decomposition", 2020: every W is replaced by
(U √Σ)_r (√Σ Vᵀ)_r, with one rank for all maps, and the dense model teaches logits and hidden states (the terms of the
objective). Here the rank is the largest at which the layers cost no more than what is asked for. With ``rows`` the
error of a map counts by the inputs that it has on training rows.

Two thin maps are smaller than one only where r < ab / (a + b): elsewhere a map stays as it is. They are not always
faster then, so that under ``cost: ms`` only those maps become thin whose pair was measured to be.
"""

from __future__ import annotations

import bisect
import dataclasses
import hashlib
import json
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from ...cores import usable_cores
from ...encoder.model.body import TrimformerModel
from ...encoder.model.heads import TrimformerWithHead
from ...encoder.parts.attention.base import NONE
from ...encoder.parts.linear.base import DENSE, settings_of
from ...encoder.parts.linear.low_rank import LowRankMap
from ...encoder.shape.config import LayerShape, TrimformerConfig
from ...encoder.shape.gates import Gates
from ...encoder.shape.kinds import ATTENTION, LAYERS
from ...errors import TrimformerError
from ...files import save_text
from ...measure.bench.latency import benchmark
from ...measure.cost import expected_flops, expected_params
from ...measure.device.pieces import COPIES, for_timing
from ...work_files import read_work_file
from ..base import DISTILLED, Context, Standard, StudentMethod, register
from ..structure.cost import CostSettings, check_cost
from .activation_aware import decomposed_for, second_moments

KNOTS = (1 / 8, 1 / 4, 1 / 2, 1)
"""Ranks that are timed, as shares of that at which two thin maps are as large as one."""
FORESEEN_LENGTH = 128

Size = tuple[int, int]
"""Inputs and outputs of a map."""
PairTimes = dict[Size, dict[int, float]]


class LowRankSettings(CostSettings):
    """Settings of low-rank."""

    name: Literal["low-rank"] = "low-rank"
    target: float = Field(gt=0, lt=1, description="share of the cost of the layers that stays, at most")
    maps: list[str] | None = Field(
        None, min_length=1, description="which maps become thin: attention, ffn, or names such as ffn_in; none: all"
    )
    rows: int | None = Field(
        None, ge=1, description="training rows by whose inputs the error of a map counts; none: all inputs count alike"
    )


class Map(NamedTuple):
    """A dense map of a layer."""

    layer: int
    name: str
    size: Size


class Plan(NamedTuple):
    """thin: the maps that become two thin ones. rank: of all of these."""

    thin: list[Map]
    rank: int


@register
class LowRank(StudentMethod):
    """Decompose linear maps, then train the thin ones under the stage's objective."""

    name = "low-rank"
    Settings = LowRankSettings
    example = {"target": 0.5, "length": 9}  # noqa: RUF012  (never written to)
    decides = False
    standard = Standard(objective=DISTILLED, repair=None)

    def __init__(self, settings: Any, context: Context) -> None:
        config = context.model.config
        self.maps = dense_maps(config, settings.maps)
        self.saved: Saved | None = None
        check_cost(settings, config)
        length = settings.length or round(float(context.train.lengths.mean()))
        if settings.cost == "ms":
            with context.accelerator.main_process_first():  # the others read what it has measured
                self.saved = kept_times(settings, context, self.maps, length)
        self.plan = planned(settings, config, self.maps, length, self.saved)
        batches = [] if settings.rows is None else list(context.sample(context.train, settings.rows))
        model, self.lost = made_thin(context.model.to(context.accelerator.device), self.plan, batches)
        super().__init__(settings, dataclasses.replace(context, model=model))

    @classmethod
    def after(cls, settings: Any, config: TrimformerConfig) -> TrimformerConfig:
        """For texts of 128 tokens where no length is given; where milliseconds count any rank stands for that found."""
        check_cost(settings, config)
        maps, length = dense_maps(config, settings.maps), settings.length or FORESEEN_LENGTH
        if settings.cost == "ms":
            return shaped(config, Plan([each for each in maps if smaller(each.size, 1)], 1))
        return shaped(config, planned(settings, config, maps, length))

    def decide(self) -> Gates:
        """Nothing is switched off."""
        return Gates()

    def notes(self) -> list[str]:
        thin = set(self.plan.thin)
        notes = [
            f"{len(thin)} of {len(self.maps)} maps became two thin ones of rank {self.plan.rank}, which lost "
            f"{self.lost:.1%} of {self._lost_of()} before training."
        ]
        for size in dict.fromkeys(each.size for each in self.maps if each not in thin):
            notes.append(f"The maps {size[0]} -> {size[1]} stay as they are: {self._why_dense(size)}.")
        if self.saved is not None:
            listed = ", ".join(
                f"{a} -> {b} {np.interp(self.plan.rank, [*saved], [*saved.values()]):+.3f}"
                for (a, b), saved in self.saved.times.items()
            )
            notes.append(f"Two thin maps of this rank save, in milliseconds as measured: {listed}.")
        return notes

    def _lost_of(self) -> str:
        if self.settings.rows is None:
            return "the squared singular values"
        return f"their squared outputs on {min(self.settings.rows, len(self.context.train)):,} training rows"

    def _why_dense(self, size: Size) -> str:
        if smaller(size, self.plan.rank):
            return f"two thin ones of rank {self.plan.rank} were not faster"
        return f"two thin ones are smaller only below rank {break_even(size):.0f}"


def dense_maps(config: TrimformerConfig, wanted: Sequence[str] | None) -> list[Map]:
    """The maps that are wanted and dense, layer by layer.

    Raises TrimformerError for a name that no layer has, and where nothing is left to decompose.
    """
    with torch.device("meta"):
        body = TrimformerModel(config)
    kind = LAYERS[config.layer_kind]
    found, known = [], {"attention", "ffn"}
    for index, (shape, layer) in enumerate(zip(config.shapes, body.layers, strict=True)):
        for name in (*ATTENTION[shape.attention].maps, *((*kind.inner, "ffn_out") if shape.ffn else ())):
            known.add(name)
            group = "attention" if name.startswith("attention.") else "ffn"
            if settings_of(shape, name) == DENSE and (wanted is None or name in wanted or group in wanted):
                module = layer.get_submodule(name)
                found.append(Map(index, name, (int(module.in_features), int(module.out_features))))  # type: ignore[arg-type]
    if unknown := [name for name in wanted or [] if name not in known]:
        raise TrimformerError(
            f"The setting maps names {unknown[0]!r}, which no layer has: use some of {', '.join(sorted(known))}."
        )
    if not found:
        raise TrimformerError(
            "The layers have no dense map left to decompose among those that the setting maps names: choose others."
        )
    return found


def break_even(size: Size) -> float:
    """The rank at which two thin maps have as many weights as one."""
    return size[0] * size[1] / sum(size)


def smaller(size: Size, rank: int) -> bool:
    return rank * sum(size) < size[0] * size[1]


def shaped(config: TrimformerConfig, plan: Plan) -> TrimformerConfig:
    """The configuration with thin maps."""
    maps = [dict(shape.maps) for shape in config.shapes]
    for each in plan.thin:
        maps[each.layer][each.name] = {"kind": LowRankMap.kind, "rank": plan.rank}
    return config.with_shapes(
        [dataclasses.replace(shape, maps=own) for shape, own in zip(config.shapes, maps, strict=True)]
    )


class Saved(NamedTuple):
    """layers: milliseconds of all layers with dense maps. times: by size of a map, what it saves at each rank."""

    layers: float
    times: PairTimes

    def of(self, size: Size, rank: int) -> float:
        """Milliseconds that one map saves, 0 where two thin ones are not faster or not smaller."""
        known = self.times[size]
        return max(0.0, float(np.interp(rank, [*known], [*known.values()]))) if smaller(size, rank) else 0.0


def planned(
    settings: LowRankSettings, config: TrimformerConfig, maps: list[Map], length: int, saved: Saved | None = None
) -> Plan:
    """The largest rank at which the layers cost no more than the target, and the maps that it makes thin.

    Raises TrimformerError where no rank is enough.
    """

    def plan(rank: int) -> Plan:
        pays = (smaller(each.size, rank) if saved is None else saved.of(each.size, rank) > 0 for each in maps)
        return Plan([each for each, thin in zip(maps, pays, strict=True) if thin], rank)

    def cost(found: Plan) -> float:
        if saved is not None:
            return saved.layers - sum(saved.of(each.size, found.rank) for each in found.thin)
        left = shaped(config, found)
        return float(
            expected_params(left, Gates()) if settings.cost == "params" else expected_flops(left, length, Gates())
        )

    dense = cost(Plan([], 1))
    ranks = range(1, max(round(break_even(each.size)) for each in maps) + 1)
    rank = bisect.bisect_right(ranks, settings.target * dense, key=lambda rank: cost(plan(rank)))
    if rank == 0:
        raise TrimformerError(
            f"target: rank 1 leaves {cost(plan(1)) / dense:.0%} of the cost of the layers in {settings.cost}, but "
            f"only {settings.target:.0%} may stay: raise the target, or let more maps become thin."
        )
    return plan(rank)


def made_thin(
    model: TrimformerWithHead, plan: Plan, batches: Sequence[dict[str, Tensor]] = ()
) -> tuple[TrimformerWithHead, float]:
    """A copy with thin maps, and the share of the squared singular values of these maps that it has lost.

    batches: whose inputs say what counts, and then the share is that of the squared outputs; none: all counts alike.
    """
    weights = {name: weight.clone() for name, weight in model.state_dict().items()}
    modules = {each: model.encoder.layers[each.layer].get_submodule(each.name) for each in plan.thin}
    moments = second_moments(model, modules.values(), batches)
    lost = total = 0.0
    for each in plan.thin:
        place = f"encoder.layers.{each.layer}.{each.name}"
        matrix: Tensor = weights.pop(f"{place}.weight")
        first, second, (error, whole) = decomposed_for(matrix, plan.rank, moments.get(modules[each]))
        weights |= {f"{place}.first.weight": first, f"{place}.second.weight": second}
        if f"{place}.bias" in weights:
            weights[f"{place}.second.bias"] = weights.pop(f"{place}.bias")
        lost, total = lost + error, total + whole
    with torch.device("meta"):  # its random weights would be thrown away
        thin = type(model)(shaped(model.config, plan))
    thin.load_state_dict(weights, assign=True)
    return thin.train(model.training), lost / max(total, torch.finfo(torch.float32).tiny)


def kept_times(settings: LowRankSettings, context: Context, maps: list[Map], length: int) -> Saved:
    """As measured before in this run, so that a run that is resumed goes on with the same rank; else measured now."""
    assert context.folder is not None, "measured times need a folder"
    config = context.model.config
    key = repr((config.shapes, config.hidden_size, settings.batch, settings.backend, length, maps))
    file = context.folder / f"low-rank-{hashlib.sha256(key.encode()).hexdigest()[:16]}.json"
    if not file.is_file():
        found = measured(settings, config, maps, length)
        save_text(file, json.dumps([found.layers, [[*size, [*of.items()]] for size, of in found.times.items()]]))
    kept = tuple[float, list[tuple[int, int, list[tuple[int, float]]]]]
    layers, times = read_work_file(file, kept, "delete it, and its times are measured again")
    return Saved(layers, {(a, b): dict(of) for a, b, of in times})


def measured(settings: LowRankSettings, config: TrimformerConfig, maps: list[Map], length: int) -> Saved:
    """Time models of four equal layers: whole layers, because runtimes fuse, with the maps of one size thin or dense.

    A layer's time is what its model takes longer than one of layers with only their norms.
    """
    layers: dict[LayerShape, str] = {shape: f"layer {index}" for index, shape in enumerate(config.shapes)}
    widest = max(config.shapes, key=lambda shape: shape.width)
    bare = dataclasses.replace(ATTENTION[NONE].shaped(widest, query_key=None), ffn=0, maps={})
    shapes = {name: shape for shape, name in layers.items()} | {"bare": bare}
    first: dict[Size, int] = {}
    for each in maps:
        first.setdefault(each.size, each.layer)
    timed: list[tuple[Size, int, str, int]] = []
    for size, index in first.items():
        alike = [each for each in maps if each.layer == index and each.size == size]
        for rank in sorted({max(1, round(share * break_even(size))) for share in KNOTS}):
            name = f"{size[0]} to {size[1]} at {rank}"
            shapes[name] = shaped(config, Plan(alike, rank)).shapes[index]
            timed.append((size, rank, name, len(alike)))
    took = milliseconds(config, shapes, settings, length)
    times: PairTimes = {}
    for size, rank, name, count in timed:
        dense = took[layers[config.shapes[first[size]]]]
        saved = (dense - took[name]) / count
        # What is thinner saves no less: where it was measured to, that is noise.
        times.setdefault(size, {})[rank] = min([saved, *times.get(size, {}).values()])
    return Saved(sum(took[layers[shape]] - took["bare"] for shape in config.shapes), times)


def milliseconds(
    config: TrimformerConfig, shapes: dict[str, LayerShape], settings: LowRankSettings, length: int
) -> dict[str, float]:
    """The time of one layer of each of these shapes, embeddings and the rest of a pass included."""
    body = for_timing(config)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        models: Any = {
            name: TrimformerModel(body.with_shapes([shape] * COPIES)).eval() for name, shape in shapes.items()
        }
    timings = benchmark(
        models, batch=[settings.batch], length=[length], threads=usable_cores(), backends=[settings.backend]
    )
    if reason := next((timing.skipped for timing in timings if timing.skipped), ""):
        raise TrimformerError(f"No milliseconds can be measured under {settings.backend}: {reason}")
    return {name: (timing.median_ms or 0.0) / COPIES for name, timing in zip(models, timings, strict=True)}
