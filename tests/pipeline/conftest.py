"""What runs on plain text start from."""

import pytest
import torch
from transformers import BertConfig, BertForMaskedLM, BertModel

from tests.tasks.plain_text.plain import masking_tokenizer, write_text


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A folder with texts, a bare encoder and one with its masked-LM head."""
    monkeypatch.setenv("TRIMFORMER_CACHE", str(tmp_path / "cache"))
    write_text(tmp_path / "texts.txt", 60)
    config = BertConfig(
        vocab_size=30, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24,
        max_position_embeddings=40, initializer_range=0.2,
    )  # fmt: skip
    for name, cls in (("body", BertModel), ("mlm", BertForMaskedLM)):
        torch.manual_seed(0)
        cls(config).save_pretrained(tmp_path / name)
        masking_tokenizer().save_pretrained(tmp_path / name)
    return tmp_path
