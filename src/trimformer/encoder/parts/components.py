"""The components of an encoder, as a profile shows them, and the one that each module and weight belongs to.

They are those of Ganesh et al. ("Compressing Large-Scale Transformer-Based Models: A Case Study on BERT", 2021, Figure
3), with the head and, for students, layers that are no Transformer's. Every part says in ``components`` to which one
its modules belong, by their names; what it does not name belongs to the same one as the part itself, ``OWN``.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from torch import nn


class Component(StrEnum):
    """In the order of a pass. Norms belong to what they stand before or behind."""

    EMBEDDINGS = "embeddings"
    BEFORE = "maps before attention"
    """Queries, keys and values."""
    ATTENTION = "attention"
    """Scores, softmax and weighted sum, or what mixes the tokens in their place."""
    AFTER = "map after attention"
    FEED_FORWARD = "feed-forward"
    RECURRENT = "LSTM"
    CONVOLUTION = "convolutions, pools"
    HEAD = "head"


OWN = ""
"""The name under which a part says what it computes itself."""

Components = Mapping[str, Component]

ATTENTION: dict[str, Component] = {
    OWN: Component.ATTENTION,
    **dict.fromkeys(("inputs", "query", "key", "value"), Component.BEFORE),
    "output": Component.AFTER,
}
"""Those of every kind of attention, which all have the same names for their maps."""


def components_of(root: nn.Module) -> dict[str, Component | None]:
    """The component of each module and weight by its name; None for what belongs to none, such as residual sums."""
    found: dict[str, Component | None] = {}

    def walk(module: nn.Module, path: str, given: Component | None) -> None:
        named: Components = getattr(module, "components", {})
        found[path] = own = named.get(OWN, given)
        before = f"{path}." if path else ""
        for name, _ in module.named_parameters(recurse=False):
            found[before + name] = named.get(name, own)
        for name, child in module._modules.items():  # named_children leaves out what layers share
            if child is not None:
                walk(child, before + name, named.get(name, own))

    walk(root, "", None)
    return found
