"""A student narrower or wider than its teacher, with the map that makes their hidden states comparable."""

from __future__ import annotations

from typing import Any

from torch import nn


class Projected(nn.Module):
    """A model whose hidden states come out as wide as the teacher's: H W (TinyBERT, section 3.1).

    One map for the embeddings and all layers, as in TinyBERT's released code. It is trained and saved with the model as
    one network, and left behind when the method hands over its model.
    """

    def __init__(self, model: nn.Module, hidden: int, teacher_hidden: int) -> None:
        super().__init__()
        self.model = model
        self.projection = nn.Linear(hidden, teacher_hidden, bias=False)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        out = self.model(*args, **kwargs)
        if out.hidden_states is not None:
            out.hidden_states = tuple(self.projection(states) for states in out.hidden_states)
        return out
