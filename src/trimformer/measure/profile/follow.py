"""Which component of a PyTorch model is at work, told by hooks on its modules."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from torch import nn

from ...encoder.parts.components import Component, components_of

Told = Callable[[Component | None], None]


@contextlib.contextmanager
def followed(model: nn.Module, told: Told) -> Iterator[None]:
    """In this block ``told`` is called with the component whose turn it is, whenever another one begins.

    A module interrupts the one that calls it, so that what attention computes itself is told apart from its maps.
    """
    stack: list[Component | None] = [None]

    def begin(component: Component | None) -> Callable[..., None]:
        def hook(*_: Any) -> None:
            stack.append(component)
            told(component)

        return hook

    def end(*_: Any) -> None:
        stack.pop()
        told(stack[-1])

    components, hooks, known = components_of(model), [], set()
    for name, module in model.named_modules(remove_duplicate=False):
        inherited = components[name.rpartition(".")[0]] if name else None
        is_new = components[name] != inherited and module not in known  # the others go on with what they are part of
        if is_new and not isinstance(module, nn.Identity):
            known.add(module)
            hooks += [module.register_forward_pre_hook(begin(components[name])), module.register_forward_hook(end)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
