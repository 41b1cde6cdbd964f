"""Cost from shapes alone: weights, bytes and floating-point operations.

Conventions: 2 operations per multiply-add; matrix products and convolutions only (table look-ups, biases, softmax,
LayerNorm and activations are not counted). A full attention layer costs 8nd² + 4n²d and a feed-forward block 4ndf for n
tokens, so BERT-base at n = 128 costs 22.35 G, which TinyBERT (Jiao et al., 2020, Table 1) prints as 22.5B.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ..encoder.model.body import TrimformerModel
from ..encoder.model.heads import TrimformerWithHead
from ..encoder.parts.attention.base import replaced
from ..encoder.parts.elimination import expected_counts, handed_on
from ..encoder.parts.embeddings import Embeddings
from ..encoder.parts.sizes import Number, Sizes, expected_sizes, sizes_of
from ..encoder.shape.config import LayerShape, TrimformerConfig
from ..encoder.shape.gates import Gates
from ..encoder.shape.kinds import ATTENTION, LAYERS, POSITIONS
from ..saved.exits import ExitShape

Kinds = Sequence[Sequence[tuple[LayerShape, Number]]]
"""For each layer the shapes that it may have, which differ in their attention kind, each with its probability."""


@dataclasses.dataclass(frozen=True)
class LayerCost:
    """params: weights; what layers share counts in the first that has it. flops: operations for one sequence."""

    params: int
    flops: float


@dataclasses.dataclass(frozen=True)
class Cost:
    """params: weights. bytes: weights in the given precision. flops: operations for one sequence of ``length`` tokens.

    The exits of a model count as where no text leaves. layers: the share of each encoder layer; embeddings and heads
    make up the rest. Under a head that reads the first token only, the layers after the last one that mixes tokens, and
    after the last exit that reads all of them, are computed for that token alone. A layer that hands on fewer tokens is
    counted with all that it is given up to its feed-forward block, and from there on with those.
    """

    params: int
    bytes: int
    flops: float
    length: int
    layers: tuple[LayerCost, ...]


def cost(
    model: TrimformerModel | TrimformerWithHead | TrimformerConfig,
    length: int = 128,
    *,
    head: type[TrimformerWithHead] | None = None,
    bytes_per_weight: int = 4,
    first: int | None = None,
    cached: bool = False,
) -> Cost:
    """Cost of a model, or of a configuration (``head``: the model class whose head belongs to it).

    first: how many of the tokens are the first text's of a pair, which matters where the first layers see each text by
    itself; None: there is one text. cached: what these layers give for the second text is known and not computed.
    """
    config = model if isinstance(model, TrimformerConfig) else model.config
    if isinstance(model, TrimformerWithHead):
        head = type(model)
    reads_first = head is not None and head.reads_first(config)
    last = config.first_alone if reads_first else config.num_hidden_layers
    kind = LAYERS[config.layer_kind]
    apart = [length] if first is None else [first] if cached else [first, length - first]
    counted = zip(config.shapes, handed_on([shape.tokens for shape in config.shapes], length), strict=True)
    flops_of = [
        sum(float(kind.flops(config, shape, sizes_of(config, shape), own, own, own)) for own in apart)
        if index < config.split_layers
        else float(kind.flops(config, shape, sizes_of(config, shape), n, *((n, left) if index < last else (1, 1))))
        for index, (shape, (n, left)) in enumerate(counted)
    ]
    layers = tuple(LayerCost(params, flops) for params, flops in zip(_own_params(config), flops_of, strict=True))
    final_norm = config.hidden_size * (1 + config.norm_bias) * kind.final_norm
    attends = any(ATTENTION[shape.attention].attends for shape in config.shapes)
    positions = POSITIONS[config.attention_positions].params(config) if attends else 0
    params = Embeddings.params(config) + final_norm + positions + sum(layer.params for layer in layers)
    embedded = sum(apart) if config.split_layers else length
    flops = Embeddings.flops(config, embedded) + sum(layer.flops for layer in layers)
    if head is not None:
        exits = 0 if config.exits is None else len(ExitShape.read(config.exits).after)
        for module, count in ((head.head_type(config), 1), (head.exit_type(config), exits)):
            params += count * module.params(config, head.outputs(config))
            flops += count * module.flops(config, head.outputs(config)) * (1 if head.for_texts else length)
    return Cost(params, params * bytes_per_weight, flops, length, layers)


def flops_by_exit(config: TrimformerConfig, length: int, head: type[TrimformerWithHead]) -> list[float]:
    """Operations for one sequence that leaves at the first exit, at the second, …, and at none, the heads it met
    included.
    """
    whole = cost(config, length, head=head)
    heads = head.exit_type(config).flops(config, head.outputs(config)) * (1 if head.for_texts else length)
    after = () if config.exits is None else ExitShape.read(config.exits).after
    before = Embeddings.flops(config, length)
    found = [
        before + sum(layer.flops for layer in whole.layers[: last + 1]) + number * heads
        for number, last in enumerate(after, 1)
    ]
    return [*found, whole.flops]


def mean_flops(config: TrimformerConfig, length: int, head: type[TrimformerWithHead], executed: Sequence[int]) -> float:
    """Operations for one sequence, a mean over texts. executed: texts that went through 1, 2, … layers, up to all."""
    after = () if config.exits is None else ExitShape.read(config.exits).after
    each = zip([*after, config.num_hidden_layers - 1], flops_by_exit(config, length, head), strict=True)
    return sum(executed[last] * flops for last, flops in each) / sum(executed)


def _own_params(config: TrimformerConfig) -> list[int]:
    """Weights of each layer that no earlier layer of its group has."""
    own: list[int] = []
    known: set[tuple[int, str]] = set()
    for index, group in enumerate(config.sharing or range(config.num_hidden_layers)):
        shape = config.shapes[index]
        parts = LAYERS[config.layer_kind].params(config, shape, sizes_of(config, shape), first=index == 0)
        own.append(int(sum(params for part, params in parts.items() if (group, part) not in known)))
        known |= {(group, part) for part in parts}
    return own


def expected_flops(config: TrimformerConfig, length: int, gates: Gates, kinds: Kinds | None = None) -> Tensor:
    """Expected operations of the encoder layers where gates are kept with these probabilities, independently.

    Differentiable; at hard gates that of the trimmed encoder. All tokens that a layer is given count, because what a
    head that reads the first one saves depends on all gates together; gates of tokens count by their mean. Positions
    and operations are not seen. kinds: in place of the layers' own and of gates on their attention.
    """
    handed: Sequence[tuple[Number, Number]] = handed_on([shape.tokens for shape in config.shapes], length)
    if gates.tokens is not None:
        handed = expected_counts([None if own is None else own.mean() for own in gates.tokens], length)

    def flops(index: int, shape: LayerShape, sizes: Sizes) -> Number:
        n, left = handed[index]
        found: Number = LAYERS[config.layer_kind].flops(config, shape, sizes, n, n, left)
        return found

    return _expected(config, gates, flops, kinds)


def expected_params(config: TrimformerConfig, gates: Gates, kinds: Kinds | None = None) -> Tensor:
    """Expected weights of the encoder layers, as :func:`expected_flops`; layers that share weights count each."""

    def params(index: int, shape: LayerShape, sizes: Sizes) -> Number:
        return sum(LAYERS[config.layer_kind].params(config, shape, sizes, first=index == 0).values())

    return _expected(config, gates, params, kinds)


def _expected(
    config: TrimformerConfig, gates: Gates, count: Callable[[int, LayerShape, Sizes], Number], kinds: Kinds | None
) -> Tensor:
    total = torch.zeros(())
    for index, shape in enumerate(config.shapes):
        own, sizes = gates.layer(index), expected_sizes(config, shape, gates.layer(index))
        every: Sequence[tuple[LayerShape, Number]] = [(shape, 1.0)]
        if kinds is not None:
            every = kinds[index]
        elif own.attention is not None:
            every = [(shape, own.attention), (replaced(shape, gates.removed), 1 - own.attention)]
        counted = sum((share * torch.as_tensor(count(index, one, sizes)) for one, share in every), torch.zeros(()))
        total = total + (counted if own.layers is None else own.layers * counted)
    return total
