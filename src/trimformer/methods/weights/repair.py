"""What is left of a block takes over what the block gave: its last map is fitted in closed form, without labels.

After parts are removed, the last map of a block is fitted by least squares so that the block gives what the dense one
gives for the same inputs, layer after layer, each on the inputs as they have become. Kwon et al., "A Fast Post-Training
Pruning Framework for Transformers" (2022, section 3.3), fit a factor for each head and unit in this way; here it is the
map itself, behind whatever the stages before have changed. A mean that stands in for attention is, exported, one matrix
whatever its values, so that a fitted one costs nothing more.
"""

from __future__ import annotations

import contextlib
import copy
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from ...console import Ticker
from ...encoder.model.body import TrimformerModel
from ...encoder.parts.linear.base import last_of
from ...encoder.parts.tokens import Tokens
from ...encoder.shape.config import TrimformerConfig
from ...encoder.shape.kinds import LAYERS
from ...errors import TrimformerError
from ...training.evaluate import evaluating
from ..base import Method, MethodSettings, register
from ..result import Result
from .least_squares import LeastSquares

Batch = dict[str, Tensor]


class RepairSettings(MethodSettings):
    """Settings of repair."""

    name: Literal["repair"] = "repair"
    rows: int = Field(640, ge=1, description="training rows that the maps are fitted on, drawn with the run's seed")
    ridge: float = Field(0.01, gt=0, description="how much maps are held to what they were, in means of squared inputs")


@register
class Repair(Method):
    """Fit the last map of every block that the stages before have changed."""

    name = "repair"
    Settings = RepairSettings
    takes_split = False
    trains = False
    decides = False
    needs_dense = True

    @classmethod
    def check_beside(cls, config: TrimformerConfig, dense: TrimformerConfig, same_tokens: bool) -> None:
        if reasons := unlike(config, dense, same_tokens):
            raise TrimformerError(f"Its model has {' and '.join(reasons)}: leave out repair.")

    def result(self) -> Result:
        """The model with fitted maps."""
        context, model = self.context, copy.deepcopy(self.model)
        assert context.teacher is not None, "a method that needs the dense model is given it"
        device = context.accelerator.device
        batches = list(context.sample(context.train, self.settings.rows))
        fitted = repair(model.to(device).encoder, context.teacher.to(device).encoder, batches, self.settings.ridge)
        texts = sum(len(batch["input_ids"]) for batch in batches)
        note = "No block that differs from the dense model's has a map that can be fitted: nothing was."
        if fitted:
            note = (
                f"The last maps of {', '.join(fitted)} were fitted to the dense model on {texts} texts, without labels."
            )
        return Result(model.cpu(), notes=[note])


def unlike(config: TrimformerConfig, dense: TrimformerConfig, same_tokens: bool = True) -> list[str]:
    """Why a model cannot be fitted to this dense one; nothing where it can."""
    differ = {
        "another tokenizer than the dense one": not same_tokens,
        "another number of layers than the dense one": config.num_hidden_layers != dense.num_hidden_layers,
        "layers of another kind than the dense one": config.layer_kind != dense.layer_kind,
        "layers without attention and a feed-forward block": not LAYERS[config.layer_kind].inner,
        "another number of hidden dimensions than the dense one": config.hidden_size != dense.hidden_size,
        "layers that share their weights, which cannot be fitted to each": config.sharing is not None,
    }
    return [reason for reason, found in differ.items() if found]


def repair(model: TrimformerModel, dense: TrimformerModel, batches: Sequence[Batch], ridge: float) -> list[str]:
    """Fit the last maps of the blocks of ``model`` in place, where a block is not that of ``dense``; says which.

    Both have the same number of layers and of hidden dimensions. batches: input ids, mask and segments. What is in
    memory at a time does not grow with their number: the states between the layers are on disk.
    """
    fitted = []
    with tempfile.TemporaryDirectory() as folder, torch.no_grad(), evaluating(model), evaluating(dense):
        states = States(model, batches, Path(folder) / "states")
        with Ticker("Fitting what is left", len(model.layers)) as tick:
            for index, (layer, whole) in enumerate(zip(model.layers, dense.layers, strict=True)):
                for block in blocks(layer, whole):
                    if block.differs and fit(block, layer, states, dense, ridge):
                        fitted.append(f"{block.name} {index}")
                states.advance(layer)
                tick.advance()
    return fitted


class Block(NamedTuple):
    """A block of a layer, and what stands at its place in the dense model.

    begin, end: the modules whose input and whose output are those of the block. last: the map at its end, None where
    nothing is left of one. dense: what the dense block gives for an input (batch, n, hidden) and its tokens.
    """

    name: str
    begin: nn.Module
    end: nn.Module
    last: Any
    dense: Callable[[Tensor, Tokens], Tensor | None]
    differs: bool


def blocks(layer: Any, whole: Any) -> Iterator[Block]:
    """The two blocks of a layer."""
    ours, theirs = layer.attention, whole.attention
    yield Block("attention", ours, ours, getattr(ours, "output", None), theirs, not same(ours, theirs))
    names = [*layer.inner, "ffn_out"] if layer.has_units else ["ffn_out"]
    begin, end = (layer.get_submodule(name) for name in (names[0], names[-1]))
    differs = layer.has_units != whole.has_units or not all(
        same(layer.get_submodule(name), whole.get_submodule(name)) for name in names
    )
    yield Block("ffn", begin, end, end, lambda x, tokens: whole.feed_forward(x, None), differs)


def same(ours: nn.Module, theirs: nn.Module) -> bool:
    """Whether two modules have the same weights."""
    one, other = ours.state_dict(), theirs.state_dict()
    return type(ours) is type(theirs) and all(
        name in other and weight.shape == other[name].shape and torch.equal(weight, other[name])
        for name, weight in one.items()
    )


def fit(block: Block, layer: nn.Module, states: States, dense: TrimformerModel, ridge: float) -> bool:
    """Fit the last map of a block; False where it has none, or nothing of one that can be fitted."""
    if block.last is None:
        return False
    last: Any = last_of(block.last)
    weight, bias = getattr(last, "weight", None), last.bias
    if weight is not None and pruned(weight):
        weight = None  # zeros that a stage before has set are to stay
    if weight is None and bias is None:
        return False
    inputs = 0 if weight is None else weight.shape[1]
    sums = LeastSquares(inputs, states.width, bias is not None)
    for index in range(len(states)):
        x, tokens = states[index]
        with seen(block.begin, 0) as given, seen(block.end, 1) as answers, seen(last, 0) as read:
            layer(x, tokens)
        wanted = block.dense(given[0], Tokens(x, tokens.attention_mask, dense.positions))
        missing = (0 if wanted is None else wanted) - answers[0]
        real = states.masks[index].bool()
        rows = read[0].expand(*x.shape[:2], -1)[real][:, :inputs]
        sums.add(rows, missing.expand(x.shape)[real])
    change, shift = sums.solve(ridge)
    if weight is not None:
        weight += change.to(weight)
    if bias is not None and shift is not None:
        bias += shift.to(bias)
    return True


def pruned(weight: Tensor) -> bool:
    """Whether single weights are 0, in columns that are not 0 as a whole."""
    zero = weight == 0
    return bool((zero & ~zero.all(0)).any())


@contextlib.contextmanager
def seen(module: nn.Module, place: int) -> Iterator[list[Tensor]]:
    """What a module is given (place 0) or gives (place 1), call after call."""
    found: list[Tensor] = []
    handle = module.register_forward_hook(lambda _, arguments, result: found.append((arguments[0], result)[place]))
    try:
        yield found
    finally:
        handle.remove()


class States:
    """The states of all batches before a layer, in a file."""

    def __init__(self, body: TrimformerModel, batches: Sequence[Batch], file: Path) -> None:
        self.positions, self.width = body.positions, body.config.hidden_size
        self.masks = [batch["attention_mask"] for batch in batches]
        self.starts = np.cumsum([0, *(mask.numel() for mask in self.masks)])
        dtype = np.dtype(str(body.dtype).removeprefix("torch."))
        self.file = np.memmap(file, dtype, "w+", shape=(int(self.starts[-1]), self.width))
        for index, batch in enumerate(batches):
            self._put(index, body.embeddings(batch["input_ids"], batch.get("token_type_ids"), None))

    def __len__(self) -> int:
        return len(self.masks)

    def __getitem__(self, index: int) -> tuple[Tensor, Tokens]:
        """The states (batch, n, hidden) of one batch, and their tokens."""
        mask, rows = self.masks[index], self.file[self.starts[index] : self.starts[index + 1]]
        x = torch.from_numpy(rows.reshape(*mask.shape, self.width).copy()).to(mask.device)
        return x, Tokens(x, mask, self.positions)

    def advance(self, layer: nn.Module) -> None:
        """Through a layer."""
        for index in range(len(self)):
            self._put(index, layer(*self[index])[0])

    def _put(self, index: int, x: Tensor) -> None:
        self.file[self.starts[index] : self.starts[index + 1]] = x.flatten(0, 1).cpu().numpy()
