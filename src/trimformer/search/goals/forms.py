"""The forms in which a model can be written in fewer bytes without training, and how many these are."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from ...encoder.model.heads import TrimformerWithHead
from ...encoder.packing.base import PACKINGS
from ...errors import explain_write_errors
from ...methods.quantization.matrices import Matrix, matrices


@dataclasses.dataclass(frozen=True)
class Form:
    """What a method makes of the matrices of a model.

    said: for people. method: its name and settings. packing: in which the matrices are written then. maps, tables: what
    that one is told of linear maps and of embedding tables; outliers are none, for they are not known beforehand.
    """

    name: str
    said: str
    method: Mapping[str, Any]
    packing: str
    maps: Mapping[str, int]
    tables: Mapping[str, int]

    def bytes(self, matrix: Matrix) -> int:
        """Those of a matrix; each outlier comes on top with 8."""
        return PACKINGS[self.packing].bytes(self.tables if matrix.table else self.maps, tuple(matrix.weight.shape))


def _gobo(name: str, said: str, bits: int, embedding_bits: int) -> Form:
    maps, tables = ({"bits": each, "entries": 2**each, "outliers": 0} for each in (bits, embedding_bits))
    return Form(
        name, said, {"name": "gobo", "bits": bits, "embedding_bits": embedding_bits}, "dictionary", maps, tables
    )


FORMS = (
    _gobo("b3", "3 bits for a weight", 3, 3),
    _gobo("b4-e3", "4 bits for a weight, 3 in embeddings", 4, 3),
    Form(
        "b8",
        "8 bits for a weight",
        {"name": "round-to-nearest", "bits": 8, "embedding_bits": 8},
        "groups",
        {"bits": 8},
        {"bits": 8},
    ),
)
"""Those of which each was better than all smaller ones on SST-2, with one seed (docs/results.md, small files)."""


def bytes_in_form(model: TrimformerWithHead, form: Form) -> int:
    """Bytes of the weights of a model that is written in this form, computed from shapes alone."""
    tied = set(model.all_tied_weights_keys)
    plain = sum(weight.nbytes for name, weight in model.state_dict().items() if name not in tied)
    return plain + sum(form.bytes(matrix) - matrix.weight.nbytes for matrix in matrices(model))


def bytes_of(folder: Path) -> int:
    """Bytes on the disk of all that a model's folder holds: weights, configuration and tokenizer."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def bytes_of_tokenizer(tokenizer: PreTrainedTokenizerBase) -> int:
    """Bytes of its files on the disk."""
    with tempfile.TemporaryDirectory() as folder:
        with explain_write_errors(Path(folder)):
            tokenizer.save_pretrained(folder)
        return bytes_of(Path(folder))


def bytes_beside_weights(folder: Path) -> int:
    """Those of configuration and tokenizer."""
    return bytes_of(folder) - sum(file.stat().st_size for file in folder.glob("*.safetensors"))
