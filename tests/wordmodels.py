"""Tiny random models that read a few whole words."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from trimformer.encoder import LayerShape, TrimformerConfig, TrimformerForSequenceClassification, TrimformerModel

WORDS = [
    "a",
    "the",
    "film",
    "was",
    "good",
    "bad",
    "very",
    "dull",
    "bright",
    "and",
    "long",
    "short",
    "i",
    "you",
    "it",
    "saw",
    "never",
    "again",
]


def tiny_config(kinds: tuple[str, ...] = ("full", "mean", "full"), **others: Any) -> TrimformerConfig:
    shapes = [LayerShape(kind, 2, 16, 48, kernel=3 if kind == "conv" else 0) for kind in kinds]  # type: ignore[arg-type]
    layers = [dataclasses.asdict(shape) for shape in shapes]
    return TrimformerConfig(
        **({"vocab_size": 99, "hidden_size": 32, "max_position_embeddings": 80, "layers": layers} | others)
    )


def randomized(cls: Any, config: TrimformerConfig) -> Any:
    """Weights large enough, biases included, for an error to show; the same at every call."""
    torch.manual_seed(0)
    model = cls(config)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight) * 0.1)
    return model.eval()


def tiny_classifier(*kinds: str, **others: Any) -> TrimformerForSequenceClassification:
    config = tiny_config(kinds or ("full", "mean", "full"), **others)
    return randomized(TrimformerForSequenceClassification, config)


def tiny_body(*kinds: str) -> TrimformerModel:
    return randomized(TrimformerModel, tiny_config(kinds or ("full", "mean")))


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """Whole words, [CLS] text [SEP] pair [SEP]."""
    vocabulary = {word: i for i, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS])}
    inner = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    inner.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    )
