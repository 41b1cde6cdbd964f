"""A tiny stock BERT folder, as a user would have it, and small files of labelled texts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertForSequenceClassification, BertModel, PreTrainedTokenizerFast

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
GOOD = ["good", "bright", "moving", "fresh"]
BAD = ["bad", "dull", "stale", "clumsy"]
FILLER = ["the", "film", "was", "plot", "very", "a", "and", "music"]


def words_tokenizer() -> PreTrainedTokenizerFast:
    """Whole words in the manner of BERT."""
    vocabulary = {word: i for i, word in enumerate([*SPECIAL, *GOOD, *BAD, *FILLER])}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    )


def write_stock_bert(folder: Path, labels: Sequence[str] | None = None, *, layers: int = 2) -> Path:
    """Random weights, 16 wide; with ``labels`` a head for them (one label: regression), else the bare body."""
    head = (
        {"id2label": dict(enumerate(labels)), "label2id": {name: i for i, name in enumerate(labels)}} if labels else {}
    )
    config = BertConfig(
        vocab_size=30, hidden_size=16, num_hidden_layers=layers, num_attention_heads=2, intermediate_size=24,
        max_position_embeddings=40, initializer_range=0.2, **head,
    )  # fmt: skip
    torch.manual_seed(0)
    model = BertForSequenceClassification(config) if labels else BertModel(config)
    model.save_pretrained(folder)
    words_tokenizer().save_pretrained(folder)
    return folder


def texts(rows: int) -> list[tuple[str, bool]]:
    """Texts and whether they praise: one telling word among fillers."""
    found = []
    for i in range(rows):
        good = i % 2 == 0
        word = (GOOD if good else BAD)[i // 2 % 4]
        filler = [FILLER[(i + j) % 8] for j in range(1 + i % 5)]
        found.append((" ".join([*filler, word]), good))
    return found


def write_csv(path: Path, rows: int = 60, names: tuple[str, str] = ("pos", "neg")) -> Path:
    """Columns ``review`` and ``stars``, two classes."""
    lines = [f"{text},{names[0] if good else names[1]}" for text, good in texts(rows)]
    path.write_text("\n".join(["review,stars", *lines]) + "\n", encoding="utf-8")
    return path


def write_scores(path: Path, rows: int = 60) -> Path:
    """JSONL with ``text`` and a number as ``label``."""
    lines = [json.dumps({"text": text, "label": good + i / 100}) for i, (text, good) in enumerate(texts(rows))]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
