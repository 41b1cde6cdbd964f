"""int8 that keeps its answers: where a file with all maps in int8 does not, the maps that cost it stay in fp32.

Which do is found in two steps, as accuracy-aware quantizers such as NNCF's do it: each map is tried alone in int8, and
what it adds to the error of the outputs gives their order; then as few as possible of the first ones stay as they are.
Nothing of it is done for a file that agrees with fp32.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..console import Ticker
from ..inference.runtimes.backends import FILE_BACKENDS, parts
from ..inference.runtimes.onnx import OnnxSession
from ..tasks.encoding.encoded import Encoded
from .agreement import percent
from .onnx import Model
from .pieces import beside, inputs_of, outputs, pieces_of
from .quantize_onnx import maps_of, onnx_int8
from .quantize_openvino import Samples, samples
from .quantize_static import input_ranges, static_int8
from .writers import write_int8

RANKED_BY = 64
"""Texts that each map is tried on alone."""
MOST = 0.5
"""The largest share of the maps that may stay: int8 saves little then."""


class Mended(NamedTuple):
    """kept: the maps that stay in fp32 in an int8 file, of how many. before: its agreement with all in int8."""

    kept: tuple[str, ...]
    of: int
    before: float

    def note(self, name: str, agreement: float, asked: str) -> str:
        """The sentence on a file of this name that answers so much of what it was asked as fp32 does."""
        return (
            f"{name}: {len(self.kept)} of {self.of} maps stay in fp32 ({', '.join(self.kept)}). It answers "
            f"{percent(agreement)} of the {asked} as fp32 does, with all maps in int8 {percent(self.before)}."
        )


def maps_to_keep(
    model: Model,
    file: Path,
    backend: str,
    texts: Encoded | None,
    before: float,
    agrees: Callable[[Path, Sequence[str]], bool],
) -> Mended | None:
    """Find as few maps as make an int8 file agree that they stay in fp32; None where too many would be needed.

    Nothing is changed: :func:`write_mended` writes the file.

    file: of a model in several pieces the first one; beside it lies the fp32 ONNX file of the model. texts: what
    sets ranges and what maps are tried on; None: random tokens. before: how much it agrees now. agrees: whether a file
    does in which these maps stay in fp32.
    """
    halves = model.config.split_layers > 0
    sources, given = _sources(model, file), samples(model.config, texts)
    order = costliest_first(sources, backend, given, model.config.input_ranges, halves)
    with tempfile.TemporaryDirectory(dir=file.parent) as scratch:

        def agrees_with(kept: Sequence[str]) -> bool:
            place = Path(scratch) / str(len(kept)) / file.name
            place.parent.mkdir()
            write_int8(model, backend, sources, beside(place, model), texts, kept)
            return agrees(place, kept)

        kept = fewest(order, agrees_with)
    return None if kept is None else Mended(tuple(sorted(kept)), len(order), before)


def write_mended(model: Model, file: Path, backend: str, texts: Encoded | None, kept: Sequence[str]) -> None:
    """Write an int8 file anew with these maps in fp32, as :func:`maps_to_keep` is given it."""
    with tempfile.TemporaryDirectory(dir=file.parent) as scratch:
        place = Path(scratch) / file.name
        write_int8(model, backend, _sources(model, file), beside(place, model), texts, kept)
        for part in reversed(parts(place)):  # the weights first
            part.replace(file.parent / part.name)


def _sources(model: Model, file: Path) -> list[Path]:
    """The fp32 ONNX files beside an int8 file."""
    return pieces_of(file.with_name(FILE_BACKENDS["onnx"].file), model)


def fewest(order: Sequence[str], agrees: Callable[[Sequence[str]], bool]) -> list[str] | None:
    """As few of the first names as make a file agree; None where half of them are not enough.

    agrees: whether the file does in which these stay in fp32; asked for 1, 2, 4, … and then between the last two.
    """
    most = int(MOST * len(order))
    low, high = 0, min(1, most)
    while not (high > low and agrees(order[:high])):
        if high == most:
            return None
        low, high = high, min(2 * high, most)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if agrees(order[:middle]) else (middle, high)
    return list(order[:high])


def costliest_first(
    sources: Sequence[Path],
    backend: str,
    inputs: Samples,
    trained: Mapping[str, float] | None = None,
    halves: bool = False,
) -> list[str]:
    """The maps of the fp32 ONNX files of a model, that first which alone in int8 changes its outputs most.

    sources: of all pieces of the model. Of one with exits the outputs are those at all exits and at the end, of all
    texts. halves: whether the pieces are the halves of a split model. Outliers are not moved before, as int8 files have
    it: a map that has some may come too early in the order, which costs time and no answer. For OpenVINO inputs are
    rounded in one range. trained: the ranges of a model that was trained for int8, which its files of both runtimes
    have.
    """
    some = _spread(inputs)
    dynamic = backend == "onnx-int8" and trained is None
    sessions = [OnnxSession(source) for source in sources]
    exact = _outputs(sessions, halves, some)
    maps = [maps_of(source) for source in sources]
    errors = {}
    title, count = "Finding what costs int8", sum(map(len, maps))
    with tempfile.TemporaryDirectory(dir=sources[0].parent) as folder, Ticker(title, count) as tick:
        file, given = Path(folder) / "alone.onnx", inputs_of(sessions, halves, some)
        for place, (source, own) in enumerate(zip(sources, given, strict=True)):
            ranges = trained if trained is not None else {} if dynamic else input_ranges(source, own)
            for name in maps[place]:
                others = [other for other in maps[place] if other != name]
                if dynamic:
                    onnx_int8(source, file, others)
                else:
                    static_int8(source, file, ranges, others)
                found = _outputs([*sessions[:place], OnnxSession(file), *sessions[place + 1 :]], halves, some)
                errors[name] = sum(float(np.square(a - b).sum()) for a, b in zip(exact, found, strict=True))
                tick.advance()
    return sorted(errors, key=lambda name: -errors[name])


def _outputs(sessions: Sequence[OnnxSession], halves: bool, inputs: Samples) -> list[np.ndarray]:
    return [output for sample in inputs for output in outputs(sessions, halves, sample)]


def _spread(inputs: Samples) -> Samples:
    places: Any = np.linspace(0, len(inputs) - 1, min(RANKED_BY, len(inputs))).astype(int)
    return [inputs[place] for place in places]
