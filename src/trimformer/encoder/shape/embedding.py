"""What an embedding model makes of the encoder's output: one vector for each text, as sentence-transformers does."""

from __future__ import annotations

import dataclasses
from typing import Any

from ...errors import TrimformerError

POOLINGS = ("cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken")
"""By the names of sentence-transformers: the first token, the largest value of each dimension, the mean, the sum over
the root of the number of tokens, a mean with the weights 1, 2, 3, …, and the last token."""
ACTIVATIONS = ("Identity", "Tanh", "ReLU", "GELU", "SiLU", "Sigmoid")
"""The classes of torch.nn that a dense layer may end with."""


@dataclasses.dataclass(frozen=True)
class DenseShape:
    """A dense layer on the vector of a text. size: of its output."""

    size: int
    bias: bool = True
    activation: str = "Tanh"

    def __post_init__(self) -> None:
        if type(self.size) is not int or self.size < 1:
            raise TrimformerError(f"A dense layer of an embedding has the size {self.size!r}: it must be at least 1.")
        if self.activation not in ACTIVATIONS:
            raise TrimformerError(
                f"A dense layer of an embedding ends with {self.activation!r}, which is not known here: known are "
                f"{', '.join(ACTIVATIONS)}."
            )


@dataclasses.dataclass(frozen=True)
class EmbeddingShape:
    """From token states to a vector: pooling, then the dense layers, then length 1 where ``normalize`` says so.

    dims: shorter lengths at which the first dimensions of a vector stand for the whole (Matryoshka: Kusupati et al.,
    2022). settings: what sentence-transformers keeps beside its modules, such as prompts, handed on as it is.
    """

    pooling: str = "mean"
    dense: tuple[DenseShape, ...] = ()
    normalize: bool = False
    dims: tuple[int, ...] = ()
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.pooling not in POOLINGS:
            raise TrimformerError(
                f"The pooling of an embedding is {self.pooling!r}, which is not known here: known are "
                f"{', '.join(POOLINGS)}."
            )

    @classmethod
    def read(cls, values: dict[str, Any] | None) -> EmbeddingShape:
        """From the field of a configuration; None: the mean over the tokens.

        Raises TrimformerError for entries that are not known and values that mean nothing.
        """
        try:
            given = dict(values or {})
            dense = tuple(DenseShape(**one) for one in given.pop("dense", ()))
            return cls(dense=dense, dims=tuple(given.pop("dims", ())), **given)
        except (TypeError, ValueError) as error:
            raise TrimformerError(
                f"embedding in config.json is not readable ({error}): use the file that was saved with the weights."
            ) from error

    @classmethod
    def of_student(cls, teacher: Any, hidden: int, **others: Any) -> dict[str, Any] | None:
        """The field of the configuration of a student that is so wide: its vectors are as long as the teacher's.

        None where the teacher gives no vectors. others: in which it differs.
        """
        if teacher.embedding is None:
            return None
        return dataclasses.replace(cls.read(teacher.embedding).cut(teacher.hidden_size, hidden), **others).to_dict()

    @classmethod
    def dims_of(cls, config: Any) -> tuple[int, ...]:
        """The shorter lengths of a model's vectors; none where it gives no vectors."""
        return () if config.embedding is None else cls.read(config.embedding).dims

    def to_dict(self) -> dict[str, Any]:
        """As a configuration keeps it."""
        values = dataclasses.asdict(self)
        return values | {"dense": [dataclasses.asdict(one) for one in self.dense], "dims": list(self.dims)}

    def size(self, hidden: int) -> int:
        """Dimensions of a vector. hidden: of a token's state."""
        return self.dense[-1].size if self.dense else hidden

    def cut(self, hidden: int, kept: int) -> EmbeddingShape:
        """What is left where only so many of the hidden dimensions are kept: vectors of the same size as before.

        Where no dense layer reads the pooled vector, one comes new that puts what is kept in its old place.
        """
        if self.dense or kept == hidden:
            return self
        return dataclasses.replace(self, dense=(DenseShape(hidden, bias=False, activation="Identity"),))
