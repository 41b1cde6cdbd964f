"""A network under training: module, optimiser and schedule as one thing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from ..errors import TrimformerError
from .settings import TrainingSettings


class Network:
    """A module with AdamW and the schedule of the settings over ``steps`` optimiser steps, prepared by Accelerate.

    Call it like the module. ``backward`` may be called several times before ``step``. apart: parameters that have a
    learning rate of their own, ``apart_rate``, under the same schedule, and do not decay.
    """

    def __init__(
        self,
        name: str,
        module: nn.Module,
        accelerator: Accelerator,
        settings: TrainingSettings,
        steps: int,
        *,
        learning_rate: float | None = None,
        schedule: bool = True,
        decay: bool = True,
        betas: tuple[float, float] = (0.9, 0.999),
        apart: Sequence[nn.Parameter] = (),
        apart_rate: float = 0.0,
    ) -> None:
        self.name, self.accelerator, self.settings = name, accelerator, settings
        self.bare = module
        optimizer = torch.optim.AdamW(
            _groups(module, settings.weight_decay if decay else 0.0, apart, apart_rate),
            lr=learning_rate or settings.learning_rate,
            betas=betas,
            fused=True,
        )
        warmup = max(1, round(settings.warmup * steps))

        def factor(step: int) -> float:
            left = max(0.0, (steps - step) / max(1, steps - warmup)) if settings.schedule == "linear" else 1.0
            return min((step + 1) / warmup, left, 1.0)

        self.scheduler = LambdaLR(optimizer, factor if schedule else lambda _: 1.0)
        self.module, self.optimizer = accelerator.prepare(module, optimizer)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.module(*args, **kwargs)

    def backward(self, loss: Tensor, share: float = 1.0) -> None:
        """Add the gradient of ``share * loss``."""
        self.accelerator.backward(loss * share)

    def step(self) -> None:
        """One optimiser step on the gradients so far. Raises NonFiniteLoss before a weight is touched."""
        norm = self.accelerator.clip_grad_norm_(self.module.parameters(), self.settings.clip)
        if norm is not None and not math.isfinite(float(norm)):
            raise NonFiniteLoss(self.name)
        self.optimizer.step()
        self.scheduler.step()
        self.optimizer.zero_grad(set_to_none=True)

    def state_dict(self) -> dict[str, Any]:
        return {
            "weights": self.bare.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.bare.load_state_dict(state["weights"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])

    def copy_from(self, other: Network, moments: bool = True) -> None:
        """Take over the weights of another network of the same shape, and the moments of its optimiser."""
        with torch.no_grad():
            torch._foreach_copy_(list(self.bare.parameters()), list(other.bare.parameters()))
            if moments:
                torch._foreach_copy_(self._moments(), other._moments())

    def _moments(self) -> list[Tensor]:
        return [value for state in self.optimizer.state.values() for _, value in sorted(state.items())]


class NonFiniteLoss(TrimformerError):
    """A loss or gradient became NaN or infinite; the loop adds the step and the last good checkpoint."""

    def __init__(self, name: str) -> None:
        super().__init__(f"the loss of {name} is not a finite number")


def _groups(module: nn.Module, decay: float, apart: Sequence[nn.Parameter], rate: float) -> list[dict[str, Any]]:
    alone = {id(p) for p in apart}
    weights = [p for p in module.parameters() if p.requires_grad and id(p) not in alone]
    groups: list[dict[str, Any]] = [
        {"params": [p for p in weights if p.ndim > 1], "weight_decay": decay},
        {"params": [p for p in weights if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return [*groups, {"params": list(apart), "weight_decay": 0.0, "lr": rate}] if apart else groups
