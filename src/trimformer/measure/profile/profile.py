"""``profile``: weights, bytes, operations, memory and milliseconds of each component of a model."""

from __future__ import annotations

import dataclasses
import functools
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from ...console import Ticker
from ...cores import usable_cores
from ...encoder.checkpoints.load import load
from ...encoder.checkpoints.shapes import PREFIX
from ...encoder.model.exported import ExportedEncoder
from ...encoder.parts.components import Component
from ...encoder.parts.elimination import eliminates
from ...encoder.shape.config import TrimformerConfig
from ...errors import TrimformerError
from ...hardware import hardware
from ...inference.runtimes.backends import FILE_BACKENDS
from ...tasks.encoding.encoded import Encoded
from ...threads import torch_threads
from ..bench.bench import Texts, read_texts
from ..bench.latency import Timing, time_variants
from ..bench.variants import (
    COMPILED,
    MAIN,
    TORCH,
    Model,
    Variant,
    available_backends,
    check_backends,
    make_variants,
    reason,
)
from ..bench.workload import Workload, fixed, own_lengths
from .clocks import Clock, Pass, TorchClock
from .count import stored_bytes, weights_of, work_of
from .graph import Known
from .onnx import OnnxClock
from .openvino import OpenVinoClock

CLOCKS: Mapping[str, type[Clock]] = {"onnxruntime": OnnxClock, "openvino": OpenVinoClock}
"""By the runtime of a file: what has a profiler of its own."""
OTHER = "other"
"""What belongs to no component: residual sums, masks, and what a runtime adds or fuses over several."""
LENGTH, BATCHES = 128, 16
"""Tokens where no texts are given; batches that stand for a file of texts."""
REPEATS, SECONDS = 10, 5.0
LEAST_FUSED = 1.0
"""Percent of the time that operators of several components take, from which on it is said."""


@dataclasses.dataclass(frozen=True)
class Piece:
    """What a component costs.

    bytes: on disk. flops: operations of a pass of the whole batch. memory: the most bytes of activations that are there
    at one time while it is at work. ms: milliseconds of a pass by back-end.
    """

    component: str
    weights: int
    bytes: int
    flops: float
    memory: int
    ms: dict[str, float]


@dataclasses.dataclass(frozen=True)
class Profile:
    """What the components of a model cost; what a model does not have is not among them.

    length: tokens of a sequence, the mean where they differ. texts: the file that they are from, None: random ids.
    on_disk: whether ``bytes`` are those of a file; else of the weights in memory. pieces: in the order of a pass, at
    last what is ``other``. whole_ms: milliseconds of a pass by back-end, with nothing in it timed; those of the pieces
    are of other passes. fused_ms: what is in ``other`` because the runtime has made one operator of several components.
    skipped: why a back-end did not run.
    """

    model: str
    batch: int
    length: int
    texts: str | None
    threads: int
    hardware: dict[str, str]
    on_disk: bool
    pieces: list[Piece]
    whole_ms: dict[str, float]
    fused_ms: dict[str, float]
    skipped: dict[str, str]

    @property
    def weights(self) -> int:
        return sum(piece.weights for piece in self.pieces)

    @property
    def bytes(self) -> int:
        return sum(piece.bytes for piece in self.pieces)

    @property
    def flops(self) -> float:
        return sum(piece.flops for piece in self.pieces)

    @property
    def memory(self) -> int:
        """The most of all pieces, which do not work at one time."""
        return max(piece.memory for piece in self.pieces)

    def told(self, backend: str) -> float:
        """Milliseconds of all operators together."""
        return sum(piece.ms[backend] for piece in self.pieces)

    def notes(self) -> list[str]:
        """How the parts agree with the whole, and what is not known."""
        said = [
            f"{backend}: the parts add up to {100 * self.told(backend) / whole:.0f} % of a pass."
            for backend, whole in self.whole_ms.items()
        ]
        said += [
            f"{backend}: operators that it has made of several components take {share:.0f} % of the time, in {OTHER}."
            for backend, ms in self.fused_ms.items()
            if (share := 100 * ms / self.told(backend)) >= LEAST_FUSED
        ]
        return said + [f"{backend} did not run: {why}" for backend, why in self.skipped.items()]

    def as_json(self) -> dict[str, Any]:
        """Plain values, with the sums."""
        sums = {name: getattr(self, name) for name in ("weights", "bytes", "flops", "memory")}
        return dataclasses.asdict(self) | {"total": sums, "notes": self.notes()}


def profile(
    model: str | Path | Model,
    *,
    batch: int = 1,
    length: int | None = None,
    texts: Texts | None = None,
    threads: int | None = None,
    backends: Sequence[str] | None = None,
    repeats: int = REPEATS,
    seconds: float = SECONDS,
) -> Profile:
    """What each component of a model costs, as in Figure 3 of Ganesh et al. (2021), on this machine.

    model: a loaded model or anything that :func:`trimformer.load` reads. batch: sequences of a pass. length: tokens of
    each, random ids; None: 128, or those of the texts. texts: a file whose texts are taken, at most 16 batches of them.
    threads: None = all cores. backends: None = the main ones that are installed here and time their operators.
    repeats, seconds: as of :func:`trimformer.benchmark`.

    Weights are counted, bytes are those of the folder's file, operations are those of :func:`trimformer.cost`, and
    memory is as in :func:`trimformer.measure.profile.count.work_of`. Milliseconds are measured: under PyTorch by hooks
    on the modules, under ONNX Runtime and OpenVINO by their own profilers on the files that users get.

    Raises TrimformerError for a back-end that is unknown or does not time its operators, for sizes below 1 or more
    tokens than the model takes, for texts that cannot be read, for a model whose passes depend on what the texts say
    (exits, layers that hand on fewer tokens or see each text of a pair by itself), and as :func:`trimformer.load` does.
    """
    threads = usable_cores() if threads is None else threads
    names = _backends(backends)
    if min(batch, threads, repeats, 1 if length is None else length) < 1:
        raise TrimformerError("Give a batch, a length, threads and repeats of at least 1.")
    if texts is not None and length is not None:
        raise TrimformerError("Texts have lengths of their own: leave out the length, or the texts.")
    net = load(model) if isinstance(model, str | Path) else model
    _check(net.config)
    if (length or LENGTH) > net.config.max_tokens and (length is not None or texts is None):
        raise TrimformerError(f"The model takes at most {net.config.max_tokens} tokens, not {length or LENGTH}.")
    data = None if texts is None else read_texts(model, texts)
    workload = fixed(net.config, batch, length or LENGTH) if data is None else _of_texts(data, batch)
    on_disk = isinstance(model, str | Path) and not str(model).startswith(PREFIX)
    weights, sizes = weights_of(net, stored_bytes(net, model) if isinstance(model, str | Path) and on_disk else {})
    work = work_of(net, workload.batches)
    with tempfile.TemporaryDirectory() as folder, torch_threads(threads):
        timed, skipped = _timed(net, names, workload, threads, Path(folder), data, (repeats, seconds))
    parts = {backend: found.parts for backend, (_, found) in timed.items()}
    pieces = [
        Piece(
            OTHER if place is None else str(place),
            weights.get(place, 0), sizes.get(place, 0), work.flops.get(place, 0.0), work.memory.get(place, 0),
            {backend: found.get(place, 0.0) for backend, found in parts.items()},
        )
        for place in (*Component, None)
        if place is None or place in weights or place in work.memory
    ]  # fmt: skip
    return Profile(
        model=str(model) if isinstance(model, str | Path) else type(model).__name__,
        batch=batch, length=workload.length, texts=None if texts is None else str(texts.file), threads=threads,
        hardware=hardware(), on_disk=on_disk, pieces=pieces,
        whole_ms={backend: whole for backend, (whole, _) in timed.items()},
        fused_ms={backend: found.fused for backend, (_, found) in timed.items()},
        skipped=skipped,
    )  # fmt: skip


def _check(config: TrimformerConfig) -> None:
    """Raise TrimformerError where what a pass computes is only known of real texts, or a model is several graphs."""
    if config.exits is not None:
        what = "has exits"
    elif eliminates(config):
        what = "has layers that hand on fewer tokens"
    elif config.split_layers:
        what = "has layers that see each text of a pair by itself"
    else:
        return
    raise TrimformerError(
        f"The model {what}, so that its parts cost what the texts make of them: time it whole (trimformer bench MODEL "
        "--data FILE), or see its operations (trimformer inspect MODEL)."
    )


def _backends(asked: Sequence[str] | None) -> list[str]:
    """Those to measure; raises TrimformerError for one that is unknown or has no times of its operators."""
    able = [name for name in TORCH if name not in COMPILED]
    able += [name for name, file in FILE_BACKENDS.items() if file.runtime in CLOCKS]
    if asked is None:
        return [name for name in available_backends() if name in able and name in MAIN]
    check_backends(asked)
    if wrong := [name for name in asked if name not in able]:
        raise TrimformerError(f"{wrong[0]} does not tell the time of its parts: use some of {', '.join(able)}.")
    return list(dict.fromkeys(asked))


def _of_texts(data: Encoded, batch: int) -> Workload:
    return own_lengths(data, [batch])[0].fewer(BATCHES)


def _timed(
    net: Model,
    backends: Sequence[str],
    workload: Workload,
    threads: int,
    folder: Path,
    calibration: Encoded | None,
    how: tuple[int, float],
) -> tuple[dict[str, tuple[float, Pass]], dict[str, str]]:
    """Milliseconds of a pass as it is and of its parts, by back-end; and why others did not run.

    Both are measured in one run, taking turns.
    """
    variants: list[Variant] = []
    clocks: dict[str, _Recorded] = {}
    with Ticker("Preparing", 2 * len(backends)) as tick:
        for backend in backends:
            tick.show(f"Preparing {backend}")
            (variant,) = make_variants({"": net}, [backend], threads, folder, calibration)
            tick.advance()
            variants.append(variant)
            if variant.run is not None:
                try:
                    clocks[backend] = _Recorded(_clock(variant, threads, net))
                except Exception as error:  # the runtimes raise their own kinds
                    variants[-1] = dataclasses.replace(variant, run=None, skipped=reason(error))
            tick.advance()
    inside = [Variant("parts", backend, clock.run) for backend, clock in clocks.items()]
    repeats, seconds = how
    timings = time_variants([*variants, *inside], [workload], threads=threads, repeats=repeats, seconds=seconds)
    skipped = {timing.backend: timing.skipped for timing in timings if timing.median_ms is None}
    whole = {timing.backend: _mean_ms(timing, workload) for timing in timings[: len(variants)] if timing.median_ms}
    return {name: (ms, clocks[name].mean(workload)) for name, ms in whole.items() if name not in skipped}, skipped


def _clock(variant: Variant, threads: int, net: Model) -> Clock:
    assert variant.path is not None
    path, backend = variant.path, variant.backend
    kind = TorchClock if backend in TORCH else CLOCKS[FILE_BACKENDS[backend].runtime]
    source = path.with_name(FILE_BACKENDS["onnx"].file)  # which the files of all runtimes are made of
    return kind(path, backend, threads, functools.cache(lambda: Known(ExportedEncoder(net), source)))


def _mean_ms(timing: Timing, workload: Workload) -> float:
    """Milliseconds of a pass, the mean over the batches of their medians."""
    assert timing.sequences_per_s is not None
    return 1e3 * len(workload.tokens) / timing.sequences_per_s / len(workload.batches)


class _Recorded:
    """A clock that remembers which batch each of its passes was of."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.batches: list[int] = []

    def run(self, inputs: dict[str, Tensor]) -> np.ndarray:
        output = self.clock.run(inputs)
        self.batches.append(id(inputs))
        return output

    def mean(self, workload: Workload) -> Pass:
        """The parts of a pass: of each batch the mean over the middle half of its passes, and the mean of these.

        The median of each part alone would leave out what disturbs some passes in one part and some in another, so that
        the parts would not add up.
        """
        passes = self.clock.passes()
        mean = Pass({})
        for batch in workload.batches:
            own = [found for found, name in zip(passes, self.batches, strict=True) if name == id(batch)]
            own = sorted(own[1:] or own, key=lambda found: sum(found.parts.values()))  # the first one warms up
            middle = own[len(own) // 4 : len(own) - len(own) // 4]
            share = 1 / (len(middle) * len(workload.batches))
            for found in middle:
                for place, ms in found.parts.items():
                    mean.parts[place] = mean.parts.get(place, 0.0) + share * ms
                mean.fused += share * found.fused
        return mean
