"""What a term of the objective is, and the registry in which each one is known by its name.

Checklist for a new term:
1. Write one file here, or a module that an installed package names under the entry point group ``trimformer.terms``.
2. Declare ``Settings``: the weight, a field called as the term is (0: off), and the fields that only this term has.
3. Declare ``reads_states`` or ``reads_trace``, the layers to compare (``match``) and what is read (``readings``).
4. Return a mean over real tokens from ``loss``: padding changes nothing, and a copy of the teacher gives 0.
5. Test its values in tests/training/terms/ (the laws find it), add its settings to docs/recipes.md and docs/terms.md.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from pydantic import BaseModel
from torch import Tensor

from ...encoder.model.heads import Kind
from ...encoder.shape.config import TrimformerConfig
from ...errors import TrimformerError
from ...registry import Registry
from ..matching import Layers, Pair, check_all_tokens
from ..reading import Reading


class Term(ABC):
    """A summand of the loss, for one student and one teacher.

    name: also the name of its weight among its settings. order: of the sum and of the settings; a new term comes last.
    needs_teacher: whether it compares with a teacher's pass. reads_answers: whether it reads logits. reads_states,
    reads_trace: whether it reads hidden states, or queries, keys and values, of both passes; a student whose states
    have another width then gets a projection. kinds: of task that it is for, empty: all. by_number: whether it compares
    the outputs number by number, so that both must have as many.
    """

    name: ClassVar[str]
    Settings: ClassVar[type[BaseModel]]
    order: ClassVar[int] = 100
    needs_teacher: ClassVar[bool] = True
    reads_answers: ClassVar[bool] = False
    reads_states: ClassVar[bool] = False
    reads_trace: ClassVar[bool] = False
    kinds: ClassVar[tuple[Kind, ...]] = ()
    by_number: ClassVar[bool] = False

    def __init__(self, settings: Any, layers: Layers) -> None:
        """settings: the objective's. Raises TrimformerError where these models leave the term nothing to compare."""
        self.settings, self.layers = settings, layers
        self.weight: float = getattr(settings, self.name)
        pairs = self.match(layers)
        if pairs is not None and not pairs:
            raise TrimformerError(
                f"The term {self.name!r} of the objective has nothing to compare: no layer of the student is of a kind "
                "with the layer of the teacher that it learns from (full attention, and as many heads where scores are "
                "compared); leave the term out."
            )
        if pairs is not None:
            check_all_tokens(layers, self.name)
        self.pairs: Sequence[Pair] = pairs or ()

    @classmethod
    def is_on(cls, settings: Any) -> bool:
        """Whether these settings of an objective want the term."""
        return getattr(settings, cls.name) > 0

    @classmethod
    def lengths(cls, settings: Any, teacher: TrimformerConfig) -> tuple[int, ...]:
        """The shorter lengths at which the term compares vectors: they are scored, too."""
        return ()

    def match(self, layers: Layers) -> Sequence[Pair] | None:
        """The pairs of layers that the term compares; None where it compares something else."""
        return None

    def readings(self) -> set[Reading]:
        """What ``loss`` reads of the teacher beside its logits; raises TrimformerError where no cache can keep it."""
        return set()

    @abstractmethod
    def loss(self, kind: Kind, batch: Mapping[str, Tensor], out: Any, target: Any) -> Tensor:
        """The term without its weight. out, target: what the student and the teacher (or None) gave for the batch."""


TERMS: Registry[type[Term]] = Registry("term", "trimformer.training.terms", "trimformer.terms")


def in_order() -> list[type[Term]]:
    """All terms, in the order in which they are summed."""
    return sorted(TERMS.values(), key=lambda term: (term.order, term.name))
