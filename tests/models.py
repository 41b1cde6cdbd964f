"""Tiny random models that the tests share."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor

from trimformer import Gates, LayerShape, TrimformerConfig, TrimformerForSequenceClassification
from trimformer.encoder.checkpoints.families import FAMILIES
from trimformer.encoder.gating.limits import limits
from trimformer.encoder.shape.kinds import LAYERS
from trimformer.encoder.shape.points import POINTS

FAMILY_NAMES = tuple(FAMILIES)
# What a configuration of a family says beside what all its checkpoints say.
OWN_FIELDS: dict[str, dict[str, Any]] = {
    "electra": {"embedding_size": 12},
    "albert": {"embedding_size": 12, "hidden_act": "gelu_new"},
    "deberta-v2": {
        "positions": "none",
        "type_vocab_size": 0,
        "classifier_act": "gelu",
        "attention_positions": "disentangled",
        "relative_terms": ["c2p", "p2c"],
        "relative_buckets": 6,
        "relative_span": 20,
        "relative_norm": True,
    },
    "modernbert": {
        "attention_bias": False,
        "ffn_bias": False,
        "norm_bias": False,
        "classifier_bias": False,
        "initializer_range": 0.2,  # gated blocks multiply: larger weights would magnify the rounding of fp32
    },
}
# What its layers say beside the sizes, in turn.
OWN_SHAPES: dict[str, list[dict[str, Any]]] = {"modernbert": [{"rotary": 100.0}, {"rotary": 20.0, "window": 4}]}


def tiny(layers: int = 3, *, family: str = "bert", labels: int = 3, seed: int = 0, **others: Any) -> Any:
    """A classifier 16 wide with 2 heads; weights large enough that every part matters."""
    own = OWN_SHAPES.get(family, [{}])
    shapes = [LayerShape("full", 2, 8, 24, **own[index % len(own)]) for index in range(layers)]
    fields = {
        "pad_token_id": 1 if FAMILIES[family].config.get("positions") == "from_padding" else 0,
        "vocab_size": 50,
        "hidden_size": 16,
        "max_position_embeddings": 40,
        "initializer_range": 0.3,
        "sharing": [0] * layers if family == "albert" else None,
        "layers": [dataclasses.asdict(shape) for shape in shapes],
        "id2label": {i: f"label{i}" for i in range(labels)},
    }
    config = TrimformerConfig(
        **{"family": family} | FAMILIES[family].config | fields | OWN_FIELDS.get(family, {}) | others
    )
    torch.manual_seed(seed)
    model = TrimformerForSequenceClassification(config).eval()
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter, std=0.3)
    return model


def _distinct() -> tuple[str, ...]:
    """One family for each kind of layer, position mechanism and way of sharing: other families differ elsewhere."""
    found: dict[Any, str] = {}
    for family in FAMILY_NAMES:
        config = tiny(family=family).config
        found.setdefault((config.layer_kind, config.attention_positions, config.sharing is None), family)
    return tuple(found.values())


DISTINCT_FAMILIES = _distinct()


WITHOUT_FAMILY = tuple(kind for kind in LAYERS if LAYERS[kind].examples)
"""The kinds of layer that no family has."""


def with_layers(kind: str, family: str = "bert", **others: Any) -> Any:
    """A small classifier of layers of one of these kinds, with all else as in a family."""
    config = tiny(family=family).config
    layers = [shape.to_dict() for shape in LAYERS[kind].examples]
    changes = {"layer_kind": kind, "layers": layers, "sharing": None, "classifier_pooling": "mean"} | others
    torch.manual_seed(1)
    return TrimformerForSequenceClassification(TrimformerConfig.from_dict(config.to_dict() | changes)).eval()


def with_tokens(model: Any, *tokens: int | float | None) -> Any:
    """The model whose first layers hand on so many tokens."""
    shapes = list(model.config.shapes)
    shapes[: len(tokens)] = [dataclasses.replace(s, tokens=t) for s, t in zip(shapes, tokens, strict=False)]
    fewer = type(model)(model.config.with_shapes(shapes)).to(model.dtype).eval()
    fewer.load_state_dict(model.state_dict())
    return fewer


def trained(model: Any) -> Any:
    """The model with convolutions that are not zero any more."""
    for name, weight in model.named_parameters():
        if name.endswith("conv.weight"):
            torch.nn.init.normal_(weight, std=0.3)
    return model


def padded_batch(model: Any, batch: int = 4, n: int = 9, seed: int = 0) -> dict[str, Tensor]:
    """Random ids; row b has b padded positions at its end, so the first row is full."""
    torch.manual_seed(seed)
    pad = model.config.pad_token_id
    ids = torch.randint(4, model.config.vocab_size, (batch, n))
    mask = (torch.arange(n)[None] < n - torch.arange(batch)[:, None] % (n - 1)).long()
    types = torch.randint(0, 2, (batch, n)) * mask
    if model.config.type_vocab_size < 2:
        types = torch.zeros_like(types)
    return {"input_ids": ids.where(mask.bool(), pad), "attention_mask": mask, "token_type_ids": types}


def hard_gates(kind: str, layers: int, batch: int, n: int, removed: set[int], stand_in: Any = "mean") -> Gates:
    """Gates of one kind that remove the attention of the given layers."""
    keep = torch.tensor([0.0 if index in removed else 1.0 for index in range(layers)])
    if kind == "attention":
        return Gates(attention=keep, removed=stand_in)
    return Gates(positions=keep.bool()[:, None, None, None, None].expand(layers, batch, 1, n, n))


def points_of(model: Any) -> list[str]:
    """The gate points of fixed size beside attention that this architecture can lose."""
    kept = limits(model.config).keeps
    return [name for name, point in POINTS.items() if point.size is not None and name not in ("attention", *kept)]


def random_gates(model: Any, points: Any, seed: int = 0, keep: float = 0.6, **others: Any) -> Gates:
    """Random hard gates at these points; layers that share their weights get the same ones, the first layer stays."""
    config, generator = model.config, torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return (torch.rand(shape, generator=generator) < keep).double()

    groups = config.sharing or range(config.num_hidden_layers)
    found: dict[str, Any] = {}
    for point in points:
        own = [draw(*size) for size in POINTS[point].sizes(config)]
        if not POINTS[point].per_layer:
            (found[point],) = own
        elif point == "layers":
            found[point] = torch.stack(own)
            found[point][0] = 1
        else:
            found[point] = [own[group] for group in groups]
    return Gates(**found, **others)
