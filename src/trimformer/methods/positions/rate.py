"""How fast the α of positions learn."""

LEAST, TRAVEL = 0.01, 10
"""The least learning rate, and how far an α gets in a stage if it always goes one way."""


def own_rate(given: float | None, steps: int) -> float:
    """The learning rate that a setting asks for; None: 10 / steps of the stage, at least 0.01."""
    return given or max(LEAST, TRAVEL / steps)
