"""The predictor: how long a pass of each combination takes on this device, and what its removal costs, untrained."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from ..console import Ticker
from ..encoder.gating.trim import trim, trimmed_config
from ..encoder.model.heads import TrimformerWithHead
from ..encoder.shape.config import TrimformerConfig
from ..measure.device.pieces import latency_tables
from ..methods import Context
from .sensitivity import RemovalCost, Sensitivity
from .space import Combination, gates_of, removable_shares, structures, widths

PartShare = tuple[str, float]
"""Which of heads, units and width, and the share that stays."""


class Prices(Protocol):
    """What knows the price of a model by its configuration."""

    def predict(self, layers: TrimformerConfig) -> float: ...


class Latencies(Prices, Protocol):
    """What knows the time of a pass of models of one width: a table of the device."""

    def fits(self, config: TrimformerConfig) -> bool: ...


@dataclasses.dataclass(frozen=True)
class Tables:
    """The tables of all widths."""

    tables: Sequence[Latencies]

    def predict(self, config: TrimformerConfig) -> float:
        """Milliseconds of a pass."""
        return next(table for table in self.tables if table.fits(config)).predict(config)


def tables_of_widths(
    model: TrimformerWithHead,
    found: Sensitivity,
    *,
    batch: int,
    length: int,
    threads: int,
    backend: str,
    fitted: bool = False,
    coarse: bool = False,
) -> Tables:
    """Tables of this device for each width that a combination may have; what is not in the cache is measured.

    fitted: as :func:`predict` takes it. coarse: as :func:`trimformer.measure.device.pieces.latency_tables` does.
    """
    how: Any = {"batch": [batch], "length": [length], "threads": threads, "backends": [backend], "coarse": coarse}
    return Tables([latency_tables(trim(model, gates), **how)[0] for gates in widths(model.config, found, fitted)])


@dataclasses.dataclass(frozen=True)
class Predicted:
    """A combination before training. price: see :class:`Point`. cost: what its removal costs the dense model."""

    combination: Combination
    price: float
    cost: float


def predict(
    context: Context,
    found: Sensitivity,
    cost: RemovalCost,
    prices: Prices,
    enough: Callable[[], bool] = lambda: False,
    *,
    left: Mapping[str, float],
    fitted: bool = False,
) -> list[Predicted]:
    """All combinations whose shapes differ, the dense model first; fitted: those that can be fitted in closed form.

    Every combination of layers and attention is tried; what heads, units and width cost is what they cost the dense
    model.

    left: the share of the cost of removing attention, heads and units that is left after fitting; all of it where
    nothing is said.

    enough: says that there is no time for more; by then a random part of them has been seen.
    """
    device, model = context.accelerator.device, context.model
    dense, *others = structures(model.config.num_hidden_layers, model.reads_first(model.config), fitted)
    shares = removable_shares(model.config, fitted)
    predicted: list[Predicted] = []
    seen = set()
    with Ticker("Predicting price and cost of combinations", 1 + len(others)) as tick:
        alone = {
            part: left.get(part[0], 1.0) * cost(gates_of(_with([part], dense), found, device))
            for part in _removed_parts(shares)
        }
        for structure in [dense, *(others[index] for index in np.random.default_rng(0).permutation(len(others)))]:
            if predicted and enough():
                break
            own = cost(gates_of(structure, found, device))
            own *= left.get("attention", 1.0) if structure.layers == dense.layers else 1.0
            for parts in _products(shares):
                combination = _with(parts, structure)
                config = trimmed_config(model.config, gates_of(combination, found))
                shape = (config.hidden_size, config.shapes)
                if shape in seen:  # in small layers different shares are the same number
                    continue
                seen.add(shape)
                lost = own + sum(alone.get(part, 0.0) for part in parts)
                predicted.append(Predicted(combination, prices.predict(config), lost))
            tick.advance()
    return predicted


def scaled(predicted: Sequence[Predicted], price: float) -> list[Predicted]:
    """The same, with prices in proportion to those predicted, of which the first one's is ``price``."""
    factor = price / predicted[0].price
    return [dataclasses.replace(one, price=factor * one.price) for one in predicted]


def _removed_parts(shares: Mapping[str, Sequence[float]]) -> list[PartShare]:
    """Each share of each part but the whole."""
    return [(name, share) for name, several in shares.items() for share in several[1:]]


def _products(shares: Mapping[str, Sequence[float]]) -> Iterator[tuple[PartShare, ...]]:
    """A share of every part, in all ways."""
    return itertools.product(*([(name, share) for share in several] for name, several in shares.items()))


def _with(parts: Sequence[PartShare], structure: Combination) -> Combination:
    changes: dict[str, Any] = dict(parts)
    return dataclasses.replace(structure, **changes)
