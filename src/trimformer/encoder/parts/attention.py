"""What mixes the tokens in a layer: one class for each attention kind, and what the layers of a pass share."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..shape.config import AttentionKind, LayerShape, TrimformerConfig, lesser
from ..shape.gates import LayerGates, hard_value
from .positions import Mechanism, RelativeProjections
from .trace import AttentionTrace

# Score of a removed position. Any finite constant makes a fully removed row uniform; it must only lie far below
# every real score, and above the minus infinity of padded keys so that padding stays strictly lower than "removed".
REMOVED_SCORE = -1e4


class NoAttention(nn.Module):
    """No attention sub-layer, and no weights.

    The outline of all kinds: the input (batch, n, hidden) -> what is added to it, (batch, n, hidden), or (batch, 1,
    hidden) where all tokens receive the same or only the first is asked for; None where nothing is added.
    """

    kind: ClassVar[AttentionKind] = "none"

    def __init__(self, config: TrimformerConfig, shape: LayerShape) -> None:
        super().__init__()

    def forward(
        self, x: Tensor, shared: Shared, gates: LayerGates | None = None, first_only: bool = False
    ) -> Tensor | None:
        return None


class BiasAttention(NoAttention):
    """What is left of attention without any head or value: the bias of the output map, for every token the same.

    The kinds with weights have in common what an attention gate does: the output is ``g * mix + (1 - g) * stand_in``; a
    hard gate needs only its own side.
    """

    kind: ClassVar[AttentionKind] = "bias"
    output: Any

    def __init__(self, config: TrimformerConfig, shape: LayerShape) -> None:
        super().__init__(config, shape)
        self.make_maps(config, shape)

    def make_maps(self, config: TrimformerConfig, shape: LayerShape) -> None:
        """The weights that this kind has."""
        self.output = OutputBias(config.hidden_size, config.attention_bias)

    def forward(
        self, x: Tensor, shared: Shared, gates: LayerGates | None = None, first_only: bool = False
    ) -> Tensor | None:
        if gates is None or gates.attention is None or lesser(self.kind, gates.removed) == self.kind:
            return self.mix(x, shared, gates, first_only)
        gate, replaced = gates.attention, gates.removed != "none"
        hard = hard_value(gate)
        if hard == 0:
            return self.stand_in(x, shared, gates) if replaced else None
        mixed = self.mix(x, shared, gates, first_only)
        if hard == 1 or mixed is None:
            return mixed
        if not replaced:
            return gate * mixed
        other = self.stand_in(x, shared, gates)
        assert other is not None  # the values of a layer that has any
        return gate * mixed + (1 - gate) * other

    def mix(self, x: Tensor, shared: Shared, gates: LayerGates | None, first_only: bool = False) -> Tensor | None:
        """The output without an attention gate."""
        found: Tensor | None = self.output(x)
        return found

    def stand_in(self, x: Tensor, shared: Shared, gates: LayerGates | None) -> Tensor | None:
        """What stands in for it, unless that is nothing."""
        return self.mix(x, shared, gates)


class OutputBias(nn.Module):
    """What is left of a linear map without inputs: (batch, n, …) -> (batch, 1, hidden); None where it has no bias."""

    def __init__(self, hidden: int, bias: bool) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(hidden)) if bias else None

    def forward(self, x: Tensor) -> Tensor | None:
        return None if self.bias is None else self.bias.expand(x.shape[0], 1, -1)


class MeanAttention(BiasAttention):
    """A removed attention layer: W_O (W_V mean(x) + b_V) + b_O, one vector per sequence (AttendOut, Eq. 3).

    The mean over real tokens commutes with the linear maps, so it is taken first; the result (batch, 1, hidden) is
    broadcast by the residual sum and no work is done per token except the mean itself.
    """

    kind: ClassVar[AttentionKind] = "mean"

    def make_maps(self, config: TrimformerConfig, shape: LayerShape) -> None:
        self.heads = shape.heads
        self.value = nn.Linear(config.hidden_size, shape.width, bias=config.attention_bias)
        self.output = nn.Linear(shape.width, config.hidden_size, bias=config.attention_bias)

    def mix(self, x: Tensor, shared: Shared, gates: LayerGates | None, first_only: bool = False) -> Tensor:
        return self.stand_in(x, shared, gates)

    def stand_in(self, x: Tensor, shared: Shared, gates: LayerGates | None) -> Tensor:
        return self.give(self.value(shared.mean_weights(x) @ x), gates)

    def give(self, context: Tensor, gates: LayerGates | None) -> Tensor:
        """The output map of what the heads have read, (batch, n, heads * head_size) -> (batch, n, hidden)."""
        given: Tensor = self.output(context if gates is None else gates.scale_values(context, self.heads))
        return given


class ConvAttention(MeanAttention):
    """A ``mean`` layer that keeps local order: a depthwise convolution of the input over the tokens is added."""

    kind: ClassVar[AttentionKind] = "conv"

    def make_maps(self, config: TrimformerConfig, shape: LayerShape) -> None:
        super().make_maps(config, shape)
        self.conv = TokenConvolution(config.hidden_size, shape.kernel)

    def mix(self, x: Tensor, shared: Shared, gates: LayerGates | None, first_only: bool = False) -> Tensor:
        return self.stand_in(x, shared, gates) + self.conv(x, shared.attention_mask, first_only)


class TokenConvolution(nn.Module):
    """A filter over neighbouring tokens for each hidden dimension, zero at the start: (batch, n, hidden) -> the same.

    Padding counts as zero. ``first_only``: the result for the first token, (batch, 1, hidden).
    """

    def __init__(self, hidden: int, kernel: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(hidden, 1, kernel))

    def forward(self, x: Tensor, attention_mask: Tensor | None, first_only: bool = False) -> Tensor:
        half = self.weight.shape[-1] // 2
        if first_only:
            x = x[:, : half + 1]
        if attention_mask is not None:
            x = x * attention_mask[:, : x.shape[1], None].to(x.dtype)
        # Seen as an image one pixel high, whose channels lie side by side, it meets the fast kernels; conv1d does not.
        image, weight = x.transpose(1, 2)[:, :, None], self.weight[:, :, None]
        mixed = F.conv2d(image, weight, padding=(0, half), groups=len(weight))[:, :, 0].transpose(1, 2)
        return mixed[:, :1] if first_only else mixed


class FullAttention(MeanAttention):
    """Multi-head self-attention: (batch, n, hidden) -> (batch, n, hidden)."""

    kind: ClassVar[AttentionKind] = "full"

    def make_maps(self, config: TrimformerConfig, shape: LayerShape) -> None:
        super().make_maps(config, shape)
        self.head_size, self.query_key_size = shape.head_size, shape.query_key_size
        self.window, self.rotary = shape.window, shape.rotary
        self.dropout = float(config.attention_probs_dropout_prob)
        self.query = nn.Linear(config.hidden_size, shape.query_key_width, bias=config.attention_bias)
        self.key = nn.Linear(config.hidden_size, shape.query_key_width, bias=config.attention_bias)
        products = 1
        if config.attention_positions == "disentangled":
            self.relative = RelativeProjections(config, shape)
            products += len(self.relative.terms)
        self.scale = (self.query_key_size * products) ** -0.5

    def mix(self, x: Tensor, shared: Shared, gates: LayerGates | None, first_only: bool = False) -> Tensor:
        query = self.split(self.query(x[:, :1] if first_only else x))
        key, value = self.split(self.key(x)), self.split(self.value(x))
        if gates is not None and gates.query_key is not None:
            query = query * gates.query_key[:, None].to(query.dtype)
        query, key, bias = shared.place(self, query, key)
        if shared.trace is not None:
            shared.trace[self] = AttentionTrace(query, key, value, self.scale, bias, self.window)
        dropout = self.dropout if self.training else 0.0
        positions = None if gates is None else gates.positions
        if positions is None:
            mask = shared.mask(query, key, bias, self.window)
            context = F.scaled_dot_product_attention(query, key, value, mask, dropout_p=dropout, scale=self.scale)
        else:
            rows = query.shape[-2]
            scores = query @ key.transpose(-1, -2) * self.scale
            if bias is not None:
                scores = scores + bias[..., :rows, :]
            if self.window is not None:
                # Outside the window is removed, not padding: with nothing left inside, the mean is over all tokens.
                positions = positions * near(x.shape[1], self.window, x.device)
            scores = replace_removed(scores, positions[..., :rows, :])
            if shared.keys is not None:
                scores = scores.masked_fill(~shared.keys, -torch.inf)
            probabilities = F.dropout(scores.softmax(-1).to(value.dtype), dropout, training=self.training)
            context = probabilities @ value
        return self.give(context.transpose(1, 2).flatten(2), gates)

    def split(self, x: Tensor) -> Tensor:
        """(batch, n, heads * size) -> (batch, heads, n, size)"""
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


def replace_removed(scores: Tensor, positions: Tensor) -> Tensor:
    """Scores with removed positions *replaced* by a constant; ``positions`` broadcasts over the heads."""
    if positions.dtype == torch.bool:
        return scores.masked_fill(~positions, REMOVED_SCORE)
    return scores * positions + REMOVED_SCORE * (1 - positions)


def near(n: int, window: int, device: torch.device) -> Tensor:
    """(n, n) boolean: the pairs of tokens at most ``window // 2`` apart."""
    positions = torch.arange(n, device=device)
    return (positions[:, None] - positions).abs() <= window // 2


class Shared:
    """What the layers of one forward pass share, made once: which tokens are real, and where they are.

    keys: (batch, 1, 1, n) boolean, or None when no token is padding as far as is known. x: the input of the first
    layer, (batch, n, hidden). traced: let the attention modules leave what they work with in ``trace``.
    """

    def __init__(
        self, x: Tensor, attention_mask: Tensor | None, mechanism: Mechanism | None = None, traced: bool = False
    ) -> None:
        self.attention_mask = attention_mask
        self.keys = None if attention_mask is None else attention_mask[:, None, None, :].bool()
        self.weights: Tensor | None = None
        self.mechanism = mechanism
        self.state = None if mechanism is None else mechanism.prepare(x)
        self.masks: dict[int | None, Tensor | None] = {}
        self.trace: dict[object, AttentionTrace] | None = {} if traced else None  # by attention module

    def mean_weights(self, x: Tensor) -> Tensor:
        """(batch, 1, n): 1 / number of real tokens on real tokens, 0 on padding."""
        if self.weights is None:
            mask = x.new_ones(x.shape[:2]) if self.attention_mask is None else self.attention_mask.to(x.dtype)
            self.weights = (mask / mask.sum(1, keepdim=True).clamp(min=1))[:, None]  # numbers for a row of padding too
        return self.weights

    def place(self, layer: FullAttention, query: Tensor, key: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Queries and keys with their positions in them, and what these add to the scores, if anything."""
        return (query, key, None) if self.mechanism is None else self.mechanism.place(self.state, layer, query, key)

    def mask(self, query: Tensor, key: Tensor, bias: Tensor | None, window: int | None) -> Tensor | None:
        """What SDPA takes: a boolean mask, or the bias with minus infinity where a token is not attended; or None."""
        if bias is not None and bias is not self.state:  # of this layer alone
            return self._mask(query, key, bias, window)
        if window not in self.masks:
            self.masks[window] = self._mask(query, key, bias, window)
        mask, rows = self.masks[window], query.shape[-2]
        return mask if mask is None or mask.shape[-2] <= rows else mask[..., :rows, :]

    def _mask(self, query: Tensor, key: Tensor, bias: Tensor | None, window: int | None) -> Tensor | None:
        allowed, n = self.keys, key.shape[-2]
        if window is not None:
            allowed = near(n, window, key.device)
            if self.keys is not None:
                # Padding far from all real tokens attends to itself: a row without any key would be NaN.
                allowed = allowed & self.keys | torch.eye(n, dtype=torch.bool, device=key.device)
        if bias is None:
            return allowed
        bias = bias.to(query.dtype)
        if allowed is None:
            return bias
        return bias.masked_fill(~allowed[..., : bias.shape[-2], :], -torch.inf)


ATTENTION: dict[AttentionKind, type[NoAttention]] = {
    cls.kind: cls for cls in (FullAttention, ConvAttention, MeanAttention, BiasAttention, NoAttention)
}
