"""The two texts of each row apart from one another, for layers that see each by itself (Cao et al., "DeFormer", 2020).

A token belongs to the first text where its segment is 0, else to the second: in ``[CLS] question [SEP] passage [SEP]``
the question has [CLS] and the first [SEP], the passage the last one. Each text is laid out from its own first token on,
so that any kind of layer sees nothing but that text, and computes as much as the text is long.
"""

from __future__ import annotations

import torch
from torch import Tensor


def numbers(token_type_ids: Tensor, real: Tensor, start: int, positions: int) -> Tensor:
    """The position of each token in its own text: (batch, n) -> (batch, n); 0 for padding before a text.

    real: boolean, False: padding, which is of neither text. start: position of the second text's first token.
    positions: how many there are; where a second text goes on behind the last one, its tokens all have that.
    """
    second = token_type_ids > 0
    before = [((real & own).long().cumsum(1) - 1).clamp(min=0) for own in (~second, second)]
    return torch.where(second, (before[1] + start).clamp(max=positions - 1) if start else before[1], before[0])


class Text:
    """One of the two texts of each row.

    places: (batch, m) where its tokens stand in the row. mask: (batch, m), 1 = real token; None where all are.
    """

    def __init__(self, member: Tensor) -> None:
        count = member.sum(1, keepdim=True)
        length = int(count.max())
        self.places = (~member).to(torch.uint8).argsort(dim=1, stable=True)[:, :length]
        # A row without this text has one token here, because layers are not made for rows of padding alone.
        mask = torch.arange(length, device=member.device) < count.clamp(min=1)
        self.mask = None if mask.all() else mask.long()

    def of(self, x: Tensor) -> Tensor:
        """Its states: (batch, n, hidden) -> (batch, m, hidden)."""
        return x.gather(1, self.places[..., None].expand(-1, -1, x.shape[-1]))


class Apart:
    """Which tokens of a batch belong to which text; both inputs (batch, n), a mask of None: all tokens are real.

    texts: the first and the second text, without one that no row has.
    """

    def __init__(self, attention_mask: Tensor | None, token_type_ids: Tensor) -> None:
        second = token_type_ids > 0
        real = torch.ones_like(second) if attention_mask is None else attention_mask.bool()
        members = [member for member in (real & ~second, real & second) if member.any()] or [~real]
        self.texts = [Text(member) for member in members]
        self.home = torch.zeros_like(token_type_ids)
        start = 0
        for member, text in zip(members, self.texts, strict=True):
            self.home = torch.where(member, start + member.long().cumsum(1) - 1, self.home)
            start += text.places.shape[1]

    def joined(self, states: list[Tensor]) -> Tensor:
        """The states of the texts, each (batch, m, hidden), back in their rows: (batch, n, hidden).

        Padding gets the states of a real token, which nothing reads.
        """
        x = torch.cat(states, 1)
        return x.gather(1, self.home[..., None].expand(-1, -1, x.shape[-1]))
