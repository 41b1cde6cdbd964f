"""What a run computes with."""

from __future__ import annotations

from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs

from ..errors import TrimformerError
from ..hardware import has_native_bf16
from ..recipe.settings import Recipe


def prepared(recipe: Recipe) -> tuple[Recipe, Accelerator]:
    """The recipe with the precision that ``auto`` means here, and an accelerator in it.

    Raises TrimformerError where this process has trained in another precision.
    """
    precision = recipe.precision
    if precision == "auto":
        precision = "bf16" if has_native_bf16() else "fp32"
    try:
        accelerator = Accelerator(
            mixed_precision="bf16" if precision == "bf16" else "no",
            # A gated-off layer leaves weights without a gradient in that step.
            kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],
        )
    except ValueError as error:  # Accelerate fixes the precision with the first run of a process
        raise TrimformerError(
            f"This process has trained in another precision than {precision}: start a new one for this run."
        ) from error
    return recipe.model_copy(update={"precision": precision}), accelerator
