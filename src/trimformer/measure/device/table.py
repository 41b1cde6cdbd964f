"""A table of the device: milliseconds of the pieces of a model, which add up to those of any shape.

A table holds on one machine for one back-end, batch, length and number of threads, and for models that differ in their
layers only. Each piece is a curve over a size:

- ``rest``: embeddings, head, and what a pass costs whatever the layers;
- ``ffn`` over units: a feed-forward block with the norms of its layer;
- ``full/64`` over heads: attention with heads of 64 dimensions; ``full/64 qk`` over the dimensions of query and key,
  with the most heads, and ``full/64 inputs`` over the dimensions that are read, picked out of all;
- ``conv`` over kernels; every other kind that computes something has one size, 0;
- the same once more after ``first``, for a head that reads the first token: what the last layer that mixes the tokens
  adds, and the blocks from there on, all computed for that token alone.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import importlib.metadata
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter
from torch import Tensor

from ...encoder import LayerShape, TrimformerConfig, TrimformerModel, TrimformerWithHead
from ...encoder.parts.attention.base import replaced
from ...encoder.parts.sizes import Inside, Number
from ...encoder.shape.kinds import ATTENTION, LAYERS, StandIn
from ...errors import TrimformerError
from ...files import cache_folder, save_text
from ...hardware import hardware

FORMAT_VERSION = 1
FIRST = "first "
"""Before the name of a piece that is computed for the first token alone."""
TIMELESS = (
    "model_type", "format_version", "family", "vocab_size", "max_position_embeddings", "pad_token_id",
    "passage_start", "hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout", "pooler_dropout",
    "layer_norm_eps", "initializer_range", "layers", "sharing",
)  # fmt: skip
"""Fields of a configuration that do not change the time of a pass, and those of the layers."""
ELSEWHERE = ("torch threads", "memory", "os", "python", "transformers")
"""What is known of the hardware and changes without changing the times."""

Model = TrimformerModel | TrimformerWithHead
Layers = TrimformerConfig | Sequence[LayerShape]
Way = tuple[str, int, int, int]
"""How a model is run: back-end, batch, length, threads."""


@dataclasses.dataclass(frozen=True)
class _Soft:
    """A layer with soft gates. kinds: what it may become, with the probabilities. inside, ffn: expected sizes."""

    kinds: Sequence[tuple[LayerShape, Number]]
    inside: Inside
    ffn: Number


@dataclasses.dataclass(frozen=True)
class LatencyTable:
    """Milliseconds of one pass by pieces.

    head: the model class. frame: what its configuration says beside the layers, see :func:`frame_of`.
    pieces: name -> size -> milliseconds, as measured. Where a larger size was measured as the faster, which is noise,
    both get the same time. coarse: fewer pieces were measured, in less time.
    """

    backend: str
    batch: int
    length: int
    threads: int
    head: str
    frame: dict[str, Any]
    pieces: dict[str, dict[int, float]]
    coarse: bool = False

    @property
    def sizes(self) -> dict[str, set[int]]:
        """The sizes that were measured of each piece."""
        return {name: set(times) for name, times in self.pieces.items()}

    def predict(self, layers: Layers) -> float:
        """Milliseconds of one pass of a model with these layers: exact for measured sizes, linear in between.

        Raises TrimformerError for a configuration that differs in more than its layers, for a size above the measured
        ones, and for an attention kind or a head size that was not measured.
        """
        return float(self.expected(layers))

    def expected(
        self,
        layers: Layers,
        *,
        attention: Tensor | None = None,
        heads: Tensor | None = None,
        ffn: Tensor | None = None,
        inputs: Tensor | None = None,
        removed: StandIn = "mean",
        kinds: Sequence[Sequence[tuple[LayerShape, Number]]] | None = None,
    ) -> Tensor:
        """Expected milliseconds while gates are soft, differentiable in the tensors, each (layers,).

        attention: probability that a layer keeps its attention; else ``removed`` stands in. kinds: instead, for each
        layer the shapes that it may have and their probabilities. heads, ffn, inputs: expected sizes, in place of the
        layers' own. With hard values it is what :meth:`predict` says of the trimmed layers.
        """
        shapes = self._shapes(layers)
        if kinds is None:
            kinds = [[(shape, 1.0)] for shape in shapes]
        if attention is not None:
            kinds = [_either(shape, removed, keep) for shape, keep in zip(shapes, attention, strict=True)]
        given = {"heads": heads, "inputs": inputs}
        insides = [
            Inside.of(shape)._replace(**{name: size[index] for name, size in given.items() if size is not None})
            for index, shape in enumerate(shapes)
        ]
        all_units: Iterable[Number] = [shape.ffn for shape in shapes] if ffn is None else ffn
        soft = list(map(_Soft, kinds, map(self._read, insides), all_units))
        total = self.time("rest", 0)
        later: Number = 0.0  # probability that a layer after this one mixes the tokens
        for layer in reversed(soft):
            if f"{FIRST}ffn" not in self.pieces:
                total = total + self._layer(layer)
                continue
            total = total + later * self._layer(layer) + (1 - later) * self._layer(layer, FIRST)
            mixing = sum(share * self._mixes(shape) for shape, share in layer.kinds)
            later = later + (1 - later) * mixing
        return total

    def by_layer(self, layers: Layers) -> list[tuple[float, float]]:
        """Milliseconds of each layer's attention and of its feed-forward block: with ``rest`` they are the prediction.

        Raises TrimformerError as :meth:`predict` does.
        """
        shapes = self._shapes(layers)
        mixing = [index for index, shape in enumerate(shapes) if self._mixes(shape)]
        all_tokens = max(mixing, default=-1) if f"{FIRST}ffn" in self.pieces else len(shapes)
        places = ["" if index < all_tokens else FIRST for index in range(len(shapes))]
        insides = [self._read(Inside.of(shape)) for shape in shapes]
        return [
            (float(self._attention(shape, inside, place)), float(self.time(f"{place}ffn", shape.ffn)))
            for shape, inside, place in zip(shapes, insides, places, strict=True)
        ]

    def fits(self, config: TrimformerConfig) -> bool:
        """Whether it can predict a model of this configuration."""
        try:
            self.predict(config)
        except TrimformerError:
            return False
        return True

    def _shapes(self, layers: Layers) -> Sequence[LayerShape]:
        if not isinstance(layers, TrimformerConfig):
            check_tokens(layers)
            return layers
        given = frame_of(layers)
        frame = {"maps": {}} | self.frame  # older files have no maps
        other = next((name for name in frame if frame[name] != given.get(name)), None)
        if other is not None:
            raise TrimformerError(
                f"The table was measured for {other} = {frame[other]}, but this model has {other} = "
                f"{given.get(other)}: measure one for this model (trimformer bench MODEL --table auto)."
            )
        return layers.shapes

    def _layer(self, layer: _Soft, place: str = "") -> Tensor:
        """Milliseconds of a layer, computed for all tokens or, with ``place``, for the first."""
        total = self.time(f"{place}ffn", layer.ffn)
        for shape, share in layer.kinds:
            total = total + share * self._attention(shape, layer.inside, place)
        return total

    def _read(self, inside: Inside) -> Inside:
        """The sizes; who reads all dimensions picks none."""
        whole = inside.inputs is not None and float(inside.inputs) >= self.frame["hidden_size"]
        return inside._replace(inputs=None) if whole else inside

    def _attention(self, shape: LayerShape, inside: Inside, place: str) -> Number:
        if place and not self._mixes(shape):
            return 0.0
        kind = LAYERS[self.frame.get("layer_kind", "post-norm")]
        found: Number = kind.milliseconds(self, shape, inside, place)
        return found

    def _mixes(self, shape: LayerShape) -> bool:
        """Whether the kind mixes the tokens; under a head that reads the first one."""
        return f"{FIRST}{piece(shape)}" in self.pieces

    def most(self, name: str) -> int:
        """The largest size of a piece that was measured."""
        return max(self.pieces[name])

    def time(self, name: str, size: Number) -> Tensor:
        """Milliseconds of a piece; below the smallest measured size its line goes on, down to 0."""
        if name not in self._curves:
            known = ", ".join(piece for piece in self.pieces if not piece.startswith(FIRST))
            raise TrimformerError(f"The table has no {name!r}, only {known}: measure one with a model that has it.")
        sizes, times = self._curves[name]
        size = torch.as_tensor(size, dtype=torch.float64)
        if size > sizes[-1] + 1e-6:
            raise TrimformerError(
                f"The table knows {name!r} up to a size of {int(sizes[-1])}, not {float(size):g}: measure one with a "
                "model that is as large."
            )
        if len(sizes) == 1:
            return times[0]
        upper = int(torch.searchsorted(sizes, size.detach()).clamp(1, len(sizes) - 1))
        slope = (times[upper] - times[upper - 1]) / (sizes[upper] - sizes[upper - 1])
        return (times[upper] + slope * (size - sizes[upper])).clamp(min=0)

    @functools.cached_property
    def _curves(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Sizes and times of each piece, the times never falling."""
        from sklearn.isotonic import isotonic_regression

        curves = {}
        for name, times in self.pieces.items():
            sizes = sorted(times)
            rising = isotonic_regression([times[size] for size in sizes])
            curves[name] = torch.tensor(sizes, dtype=torch.float64), torch.as_tensor(rising, dtype=torch.float64)
        return curves


def piece(shape: LayerShape) -> str:
    """The name of the piece that a layer's attention is."""
    name: str = ATTENTION[shape.attention].piece(shape)
    return name


def _either(shape: LayerShape, removed: StandIn, keep: Number) -> list[tuple[LayerShape, Number]]:
    """The layer with its attention, or with what stands in for it."""
    other = replaced(shape, removed)
    return [(shape, 1.0)] if other is shape else [(shape, keep), (other, 1 - keep)]


def frame_of(config: TrimformerConfig) -> dict[str, Any]:
    """What a configuration says that changes the time of a pass, its layers left aside but for their common maps.

    Raises TrimformerError where the layers differ in their linear maps, hand on fewer tokens, or see texts apart.
    """
    check_tokens(config.shapes)
    if config.split_layers:
        raise TrimformerError(
            f"The first {config.split_layers} layers see each text of a pair by itself, which a table of this device "
            "does not count: time the whole model (trimformer bench MODEL)."
        )
    fields = {name: getattr(config, name) for name in TrimformerConfig.__annotations__ if name not in TIMELESS}
    return fields | {"maps": common_maps(config.shapes)}


def check_tokens(shapes: Sequence[LayerShape]) -> None:
    """Raise TrimformerError where a layer hands on fewer tokens: the pieces of a table are all of one length."""
    eliminating = [index for index, shape in enumerate(shapes) if shape.tokens is not None]
    if eliminating:
        raise TrimformerError(
            f"Layer {eliminating[0]} hands on fewer tokens than it is given, which a table of this device does not "
            "count: time the whole model (trimformer bench MODEL)."
        )


def common_maps(shapes: Sequence[LayerShape]) -> dict[str, Any]:
    """The linear maps that are not dense, by name, the same in all layers that have them."""
    maps: dict[str, Any] = {}
    for shape in shapes:
        maps |= shape.maps
    for index, shape in enumerate(shapes):
        if shape.maps != with_maps(shape, maps).maps:
            raise TrimformerError(
                f"Layer {index} has other linear maps than the other layers, which a table of this device cannot "
                "tell apart: time the whole model (trimformer bench MODEL)."
            )
    return maps


def with_maps(shape: LayerShape, maps: dict[str, Any]) -> LayerShape:
    """The layer with those of the maps that its kind of attention has."""
    return dataclasses.replace(shape, maps=ATTENTION[shape.attention].maps_among(maps))


def this_machine() -> dict[str, str]:
    """The hardware and the versions that times depend on."""
    found = {name: value for name, value in hardware().items() if name not in ELSEWHERE}
    return found | {"trimformer": importlib.metadata.version("trimformer")}


def default_file() -> Path:
    """The file in the user's cache folder; machines and versions that differ have files of their own."""
    known = json.dumps(this_machine(), sort_keys=True)
    return cache_folder() / f"latency-{hashlib.sha256(known.encode()).hexdigest()[:12]}.json"


def write_tables(file: Path, tables: Sequence[LatencyTable]) -> None:
    content = {
        "format_version": FORMAT_VERSION,
        "machine": this_machine(),
        "tables": [dataclasses.asdict(table) for table in tables],
    }
    save_text(file, json.dumps(content, indent=1) + "\n")


def read_tables(file: Path) -> list[LatencyTable]:
    """The tables in a file.

    Raises TrimformerError for a file that is missing, none of ours, of another format, or from another machine.
    """
    if not file.is_file():
        raise TrimformerError(f"There is no table {file}: measure one with trimformer bench MODEL --table {file}.")
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        version, machine = content["format_version"], dict(content["machine"])
        same = version == FORMAT_VERSION
        tables = TypeAdapter(list[LatencyTable]).validate_python(content["tables"]) if same else []
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise TrimformerError(
            f"{file} is not a latency table or is incomplete: name another file, or delete it and measure again."
        ) from error
    if version != FORMAT_VERSION:
        raise TrimformerError(
            f"{file} has format {version}, this trimformer reads format {FORMAT_VERSION}: measure into another file."
        )
    here = this_machine()
    other = next((name for name in here | machine if here.get(name) != machine.get(name)), None)
    if other is not None:
        raise TrimformerError(
            f"{file} was measured elsewhere ({other} {machine.get(other, 'unknown')}, here "
            f"{here.get(other, 'unknown')}): measure into another file."
        )
    return tables


def fitting(tables: Sequence[LatencyTable], model: Model, way: Way) -> list[LatencyTable]:
    """Those that can predict the model."""
    same = (t for t in tables if (t.backend, t.batch, t.length, t.threads) == way and t.head == type(model).__name__)
    return [table for table in same if table.fits(model.config)]


def added(tables: Sequence[LatencyTable], new: LatencyTable) -> list[LatencyTable]:
    """The tables with one more; unless it is coarse itself, it takes the place of a coarse one of the same models."""
    same = dataclasses.replace(new, coarse=True)
    left = [old for old in tables if new.coarse or dataclasses.replace(old, pieces=new.pieces) != same]
    return [*left, new]
