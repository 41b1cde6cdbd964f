"""A linear map fitted in closed form, from sums over rows: memory does not grow with their number."""

from __future__ import annotations

import torch
from torch import Tensor


class LeastSquares:
    """The Δ and δ that minimise Σ ‖r - (Δ z + δ)‖² + λ ‖Δ‖², over rows of inputs z and of what is missing, r.

    The sums are those of the normal equations, in fp64 (Hoerl and Kennard, "Ridge Regression", 1970). λ is a share of
    the mean of Σ z²; δ is not held back. Where nothing is missing, Δ and δ are exactly 0.
    """

    def __init__(self, inputs: int, outputs: int, bias: bool) -> None:
        """inputs: of z, 0 for δ alone. bias: whether there is a δ."""
        self.inputs, self.bias = inputs, bias
        self.products = torch.zeros(inputs + bias, inputs + bias, dtype=torch.float64)
        self.targets = torch.zeros(inputs + bias, outputs, dtype=torch.float64)

    def add(self, given: Tensor, missing: Tensor) -> None:
        """given: (rows, inputs); missing: (rows, outputs)."""
        rows, wanted = given.double().cpu(), missing.double().cpu()
        if self.bias:
            rows = torch.cat([rows, rows.new_ones(len(rows), 1)], 1)
        self.products += rows.T @ rows
        self.targets += rows.T @ wanted

    def solve(self, ridge: float) -> tuple[Tensor, Tensor | None]:
        """Δ (outputs, inputs) and δ (outputs,), fp64; no δ without a bias."""
        held = torch.zeros(len(self.products), dtype=torch.float64)
        held[: self.inputs] = ridge * self.products.diagonal()[: self.inputs].mean() if self.inputs else 0.0
        products = self.products + held.diag()
        factor, failed = torch.linalg.cholesky_ex(products)
        if failed:  # inputs that are always 0 leave no unique answer: lstsq takes the smallest
            found = torch.linalg.lstsq(products, self.targets, driver="gelsd").solution
        else:
            found = torch.cholesky_solve(self.targets, factor)
        return found[: self.inputs].T, found[self.inputs] if self.bias else None
