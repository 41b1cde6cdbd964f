"""Weights under transformation: masks, fake quantization, mixtures are torch parametrizations until they are baked."""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
from torch import nn
from torch.nn.utils import parametrize

from ...errors import TrimformerError

M = TypeVar("M", bound=nn.Module)


def bake(model: M) -> M:
    """A copy whose weights are what their parametrizations made of them; the model given is left as it was.

    The law: ``bake(model)(x) == model(x)``. A model without parametrizations is returned as it is.
    """
    if not transformed(model):
        return model
    baked = copy.deepcopy(model)
    for name in sorted({name for name, _ in transformed(baked)}):
        module, own = baked.get_submodule(name), type(baked.get_submodule(name))
        # The copy has the class of the given module, from which the weight's property is now removed: give it its own.
        module.__class__ = type(own.__name__, own.__bases__, dict(vars(own)))
        for weight in list(module.parametrizations):  # type: ignore[arg-type]
            with torch.enable_grad():  # else what several tensors were made into would be no parameter any more
                parametrize.remove_parametrizations(module, weight, leave_parametrized=True)
    return baked


def transformed(model: nn.Module) -> list[tuple[str, str]]:
    """The weights that are under a transformation: the name of the module, and of its weight."""
    return [
        (name, weight)
        for name, module in model.named_modules()
        if parametrize.is_parametrized(module)
        for weight in module.parametrizations
    ]


def require_baked(model: nn.Module, what: str) -> None:
    """Raise TrimformerError where a weight is still under a transformation."""
    found = transformed(model)
    if found:
        name, weight = found[0]
        raise TrimformerError(
            f"The weight {name}.{weight} is still under a transformation, so that the model cannot be {what}: bake it "
            "first (trimformer.bake)."
        )
