"""A bidirectional LSTM: the layer of a student that is no Transformer (Tang et al., 2019)."""

from __future__ import annotations

import contextlib
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ....errors import TrimformerError
from ...shape.config import LayerShape, TrimformerConfig
from ...shape.gates import LayerGates
from ...shape.kinds import LAYERS
from ..axes import Axes
from ..components import OWN, Component
from ..linear.base import Number
from ..sizes import Sizes
from ..tokens import Tokens
from .base import NOTHING_TO_LOSE, ExportedReader, Layer


class Lstm(nn.LSTM):
    """One direction, (batch, n, inputs) -> (batch, n, units)."""

    axes: ClassVar[dict[str, Axes]] = {
        "weight_ih_l0": (None, None),
        "weight_hh_l0": (None, None),
        "bias_ih_l0": (None,),
        "bias_hh_l0": (None,),
    }


@LAYERS.add("bilstm")
class BiLstmLayer(Layer):
    """Each direction has half of the hidden dimensions as units; their states stand side by side.

    Wherever the padding stands, one way begins at the first real token and the other one at the last.
    """

    kind = "bilstm"
    about = "a bidirectional LSTM, with neither attention nor a feed-forward block"
    mixes = True
    keeps = NOTHING_TO_LOSE | {"hidden": "the states of an LSTM hang together"}
    examples = (LayerShape("none", 1, 1, 0),)
    components = {OWN: Component.RECURRENT}  # noqa: RUF012  (never written to)

    def __init__(self, config: TrimformerConfig, shape: LayerShape, first: bool = False) -> None:
        super().__init__(config, shape, first)
        if config.hidden_size % 2:
            raise TrimformerError(
                f"A BiLSTM has half of the hidden dimensions in each direction, which {config.hidden_size} do not "
                "allow: choose an even hidden_size."
            )
        self.ahead: Any
        self.back: Any
        self.ahead, self.back = (Lstm(config.hidden_size, config.hidden_size // 2, batch_first=True) for _ in range(2))

    def run(self, x: Tensor, tokens: Tokens, gates: LayerGates | None) -> Tensor:
        # In the precision of its weights: an LSTM in bf16 needs instructions that many processors lack.
        own: Tensor = self.ahead.weight_ih_l0
        known = torch.amp.is_autocast_available(x.device.type)  # not where operations are counted and not computed
        with torch.autocast(x.device.type, enabled=False) if known else contextlib.nullcontext():
            y = self.read(x.to(own.dtype), tokens.attention_mask)
        found: Tensor = self.dropout(tokens.of(y))
        return found

    def read(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """The states of both directions, (batch, n, hidden). mask: (batch, n), 1 = real token."""
        if mask is None:
            return torch.cat([self.ahead(x)[0], self.back(x.flip(1))[0].flip(1)], -1)
        real = mask.long()
        count, number = real.sum(1, keepdim=True), real.cumsum(1)
        behind = count + (1 - real).cumsum(1) - 1  # the places of padding, after all real tokens
        ways = ((self.ahead, number - 1), (self.back, count - number))
        return torch.cat([_read_at(lstm, x, torch.where(real > 0, at, behind)) for lstm, at in ways], -1)

    @classmethod
    def params(cls, config: TrimformerConfig, shape: LayerShape, sizes: Sizes, first: bool) -> dict[str, Number]:
        """Four gates for each unit, which read the input and the state and have two biases."""
        units = sizes.hidden / 2
        return {"lstm": 2 * 4 * units * (sizes.hidden + units + 2)}

    @classmethod
    def flops(
        cls, config: TrimformerConfig, shape: LayerShape, sizes: Sizes, n: int, rows: int, left: Number | None = None
    ) -> Number:
        """12nd²: the first token alone needs all others, too."""
        units = sizes.hidden / 2
        return 2 * 2 * n * 4 * units * (sizes.hidden + units)

    def exported(self, positions: Any, first_only: bool) -> nn.Module:
        return ExportedReader(self, first_only)


def _read_at(lstm: nn.LSTM, x: Tensor, places: Tensor) -> Tensor:
    """The states of tokens that are read in the order of their places, (batch, n), each back where its token was."""
    at = places[..., None]
    states: Tensor = lstm(torch.zeros_like(x).scatter(1, at.expand(-1, -1, x.shape[2]), x))[0]
    return states.gather(1, at.expand(-1, -1, states.shape[2]))
