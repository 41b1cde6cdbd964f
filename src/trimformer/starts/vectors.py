"""Static word vectors for students that are no Transformers: the teacher's word table, or a file in GloVe's format.

Tang et al. (2019) give their BiLSTM static vectors of whole words. Those of a teacher's tokens need no file, and the
student then reads texts as the teacher does.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from torch import Tensor
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from ..encoder.checkpoints.load import with_labels
from ..encoder.model.heads import TrimformerWithHead, head_class
from ..encoder.shape.config import LayerShape, TrimformerConfig
from ..encoder.shape.embedding import EmbeddingShape
from ..tasks.augmentation.glove import read_vectors
from .base import Start, StartSettings

TEACHER = "teacher"
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")


class VectorSettings(StartSettings):
    """Settings of all students on word vectors."""

    vectors: str = Field(
        TEACHER, description="teacher: the dense model's word table; else a file of word vectors in GloVe's format"
    )

    @property
    def student(self) -> str:
        return self.label


class OnVectors(Start):
    """A student whose words begin with static vectors, which it goes on training; all else of it starts random.

    Vectors that are wider than the student are reduced by PCA; narrower ones get a map to its width. It knows of no
    positions and no segments: of a pair of texts it reads the joint sequence, with the separator between them.
    """

    layer_kind: ClassVar[str]
    is_student = True

    @property
    @abstractmethod
    def width(self) -> int:
        """Its hidden dimensions."""

    @property
    @abstractmethod
    def layers(self) -> list[LayerShape]:
        """Its layers."""

    @property
    def head(self) -> Mapping[str, Any]:
        """Fields of the configuration that its head needs."""
        return {}

    @property
    def own_tokenizer(self) -> bool:
        return bool(self.settings.vectors != TEACHER)

    @property
    def new_head(self) -> bool:
        return True

    @property
    def config(self) -> TrimformerConfig:
        dense = self.origins.dense.config
        words, table_width = dense.vocab_size, dense.embedding_size or dense.hidden_size
        if self.own_tokenizer:
            words, table_width = len(SPECIAL) + len(self._file[0]), self._file[1].shape[1]
        changes = {
            "layer_kind": self.layer_kind,
            "layers": [shape.to_dict() for shape in self.layers],
            "sharing": None,
            "hidden_size": self.width,
            "embedding_size": table_width if table_width < self.width else None,
            "vocab_size": words,
            "pad_token_id": 0 if self.own_tokenizer else dense.pad_token_id,
            "positions": "none",
            "attention_positions": "none",
            "relative_heads": None,
            "type_vocab_size": 0,
            "norm_bias": True,
            "classifier_pooling": "mean",
            "classifier_bias": True,
            "classifier_norm": False,
            "classifier_size": None,
            "embedding": EmbeddingShape.of_student(dense, self.width, pooling="mean"),
        }
        config = TrimformerConfig.from_dict(dense.to_dict() | changes | dict(self.head))
        return with_labels(config, self.origins.task.labels, self.origins.task.kind)

    def model(self) -> TrimformerWithHead:
        config = self.config
        made = head_class(self.origins.task.kind)(config)
        with torch.no_grad():
            table = made.get_input_embeddings().weight
            table.copy_(fitted(self._vectors(), table.shape[1]))
        return made.eval()

    def _vectors(self) -> Tensor:
        """(words, width); words that a file does not have get the mean of the others."""
        if not self.own_tokenizer:
            table: Tensor = self.origins.dense.model().get_input_embeddings().weight.detach()
            return table
        vectors = torch.from_numpy(self._file[1])
        special = vectors.mean(0, keepdim=True).repeat(len(SPECIAL), 1)
        special += vectors.std() * torch.randn(special.shape)  # [CLS] and [SEP] are to be told from each other
        special[0], special[1] = 0, vectors.mean(0)
        return torch.cat([special, vectors])

    def tokenizer(self) -> PreTrainedTokenizerBase | None:
        return words_tokenizer(self._file[0]) if self.own_tokenizer else None

    def weights(self) -> Mapping[str, Tensor]:
        return {"vectors": torch.from_numpy(self._file[1])} if self.own_tokenizer else {}

    @cached_property
    def _file(self) -> tuple[list[str], np.ndarray]:
        """Words and vectors; raises TrimformerError for what is no such file."""
        return read_vectors(Path(self.settings.vectors), letters=False)


def fitted(vectors: Tensor, width: int) -> Tensor:
    """The vectors in their first ``width`` principal components, as long as they were on average; as they are where
    they are not wider. (words, …) -> (words, width)"""
    if vectors.shape[1] <= width:
        return vectors
    centred = (vectors - vectors.mean(0)).double()
    directions = torch.linalg.eigh(centred.T @ centred).eigenvectors.flip(1)[:, :width]
    reduced = centred @ directions
    return (reduced * (vectors.double().norm() / reduced.norm())).to(vectors.dtype)


def words_tokenizer(words: list[str]) -> PreTrainedTokenizerFast:
    """Whole words of a list, between [CLS] and [SEP]; in lower case where all of the list are."""
    vocabulary = {word: index for index, word in enumerate([*SPECIAL, *words])}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token=SPECIAL[1]))
    lower = all(word == word.lower() for word in words)
    backend.normalizer = normalizers.BertNormalizer(lowercase=lower, strip_accents=False)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.post_processor = processors.BertProcessing(
        (SPECIAL[3], vocabulary[SPECIAL[3]]), (SPECIAL[2], vocabulary[SPECIAL[2]])
    )
    named = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token"), SPECIAL, strict=True))
    return PreTrainedTokenizerFast(tokenizer_object=backend, **named)
