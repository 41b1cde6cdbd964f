"""Candidates in context, by stock masked language models."""

from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    AutoConfig,
    AutoModelForMaskedLM,
    BertConfig,
    BertForMaskedLM,
    BertModel,
    PreTrainedTokenizerFast,
)

from tests.tasks.augmentation.readers import reader, rows
from trimformer import TrimformerError
from trimformer.tasks.augmentation import masked_lm as module
from trimformer.tasks.augmentation.masked_lm import MaskedLanguageModel, masked_logits, model_digest
from trimformer.tasks.augmentation.replacement import Replacement, ReplacementSettings
from trimformer.tasks.augmentation.words import Words

WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "film",
    "movie",
    "good",
    "dull",
    "##s",
    ",",
    "the",
    "plot",
    "reel",
]
SIZES = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 16, "max_position_embeddings": 24}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights, a layer, and a tokenizer in the manner of BERT."""
    made = tmp_path_factory.mktemp("mlm")
    torch.manual_seed(0)
    config = BertConfig(vocab_size=len(WORDS), num_hidden_layers=1, initializer_range=0.5, **SIZES)
    BertForMaskedLM(config).save_pretrained(made)
    backend = Tokenizer(models.WordPiece({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "sep_token": "[SEP]", "mask_token": "[MASK]"}
    PreTrainedTokenizerFast(tokenizer_object=backend, **special).save_pretrained(made)
    return made


def test_the_likeliest_words_where_the_word_is_masked_and_the_text_follows(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BATCH", 2)
    monkeypatch.setattr(module, "TOGETHER", 3)
    source = MaskedLanguageModel(str(folder))
    texts = [Words("the Film , good"), Words("dull films plot"), Words("")]
    found = source.propose(texts, [[1, 2], [0, 1, 2], []], 4)
    assert [list(known) for known in found] == [[1, 2], [0, 2], []]  # `films` is two tokens
    model = BertForMaskedLM.from_pretrained(folder).eval()
    inputs = source.tokenizer("the [MASK] , good", "the Film , good", return_tensors="pt")
    assert inputs["input_ids"][0, :6].tolist() == [2, 11, 4, 10, 7, 3]
    logits = model(**inputs).logits[0, 2]
    whole = [i for i in logits.argsort(descending=True).tolist() if WORDS[i].isalpha() and WORDS[i] != "film"]
    assert found[0][1] == [WORDS[i].capitalize() for i in whole[:4]]


def test_words_that_are_cut_off_are_left_to_other_sources(folder: Path) -> None:
    source = MaskedLanguageModel(str(folder))
    assert source.longest == 22
    assert [list(known) for known in source.propose([Words("film " * 30)], [[3, 20]], 2)] == [[3]]


def test_it_comes_before_the_other_sources(folder: Path, tmp_path: Path) -> None:
    settings = ReplacementSettings(masked_lm=str(folder), probability=1, copies=5)
    Replacement.check(settings, reader().tokenizer)
    way = Replacement(settings, reader())
    assert list(way.sources()) == ["masked-lm", "word-table"]
    (new, *_) = way.make(rows("the reel was fine"))
    assert new.replaced == ("masked-lm", "word-table")
    assert list(way.files(settings).values()) == [model_digest(str(folder))]


FAMILIES: dict[str, dict[str, Any]] = {
    "bert": {},
    "roberta": {},
    "mpnet": {},
    "electra": {"embedding_size": 8},
    "albert": {"embedding_size": 8},
    "modernbert": {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3, "cls_token_id": 2, "sep_token_id": 3},
    "distilbert": {"dim": 16, "n_heads": 2, "hidden_dim": 16, "n_layers": 1},
    "deberta-v2": {},
}


@pytest.mark.parametrize("family", FAMILIES)
def test_only_what_is_masked_is_brought_to_the_vocabulary(family: str) -> None:
    torch.manual_seed(0)
    sizes = {} if family == "distilbert" else SIZES | {"num_hidden_layers": 1}
    config = AutoConfig.for_model(family, vocab_size=20, **{"pad_token_id": 1} | sizes | FAMILIES[family])
    model = AutoModelForMaskedLM.from_config(config).eval()
    ids = torch.tensor([[5, 4, 7, 4], [4, 8, 9, 9], [5, 6, 9, 4]])
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    with torch.no_grad():
        whole, found = model(**inputs).logits, masked_logits(model, inputs, 4)
        torch.testing.assert_close(found, whole[[0, 1, 2], [1, 0, 3]])
        assert model(**inputs).logits.shape == whole.shape


def test_other_models_are_refused(folder: Path, tmp_path: Path) -> None:
    BertModel(BertConfig.from_pretrained(folder)).save_pretrained(tmp_path)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(TrimformerError, match="is no masked language model, for it lacks weights of such a head"):
        MaskedLanguageModel(str(tmp_path))
    BertForMaskedLM.from_pretrained(folder).save_pretrained(tmp_path)
    MaskedLanguageModel(str(tmp_path))
    (tmp_path / "model.safetensors").write_bytes(b"broken")
    with pytest.raises(TrimformerError, match="cannot be read as a masked language model"):
        MaskedLanguageModel(str(tmp_path))
