"""What the parts of an exported graph share in one pass.

Tokens are kept in rows, (batch * n, hidden). Linear maps of rows export as Gemm, which holds its bias, and ONNX Runtime
then leaves Add and LayerNormalization apart; for three-dimensional tensors it fuses them into SkipLayerNormalization,
whose CPU kernel takes five times as long as the two.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import Tensor

from .patterns.base import Pattern
from .tokens import near

# Added to the score of a padded key. Finite, so that a row of padding only gives numbers and not NaN.
PADDED_SCORE = -1e9


class ExportedTokens(NamedTuple):
    """What the layers of an exported graph are given beside the states.

    mask: (batch, n), 1 = real token. mean_weights: (batch, 1, n). biases: what is added to the scores of the layers
    with this window and these columns of a bias that all share: (batch, 1 or heads, n or 1, n). state: of the mechanism
    of positions. kept: the pairs that a pattern keeps for so many heads, (1 or heads, n, n) boolean, made by the first
    layer that has it.
    """

    mask: Tensor
    mean_weights: Tensor
    biases: dict[Any, Tensor]
    state: Any
    kept: dict[tuple[Pattern, int], Tensor]


def within(score_bias: Tensor, window: int) -> Tensor:
    """The bias with what lies outside the window as far off as padding."""
    inside = near(score_bias.shape[-1], window, score_bias.device)
    return score_bias.masked_fill(~inside, PADDED_SCORE)
