"""The curves of a training, which the report draws."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Value = float | list[float]


class History:
    """Named curves: points (step, value), where a value is a number or one number for each layer."""

    def __init__(self) -> None:
        self.curves: dict[str, list[tuple[int, Value]]] = {}

    def add(self, name: str, step: int, value: Value) -> None:
        """Add a point to the curve of this name."""
        self.curves.setdefault(name, []).append((step, value))

    def state_dict(self) -> dict[str, Any]:
        return {name: list(points) for name, points in self.curves.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.curves = {name: [(step, value) for step, value in points] for name, points in state.items()}
