"""The masked-LM head: tied to the word table, cut with it, asked at some places only."""

import pytest
import torch
from transformers import AutoModelForMaskedLM, BertConfig, BertForMaskedLM, RobertaConfig

from tests.models import DISTINCT_FAMILIES, padded_batch, points_of, random_gates, tiny
from trimformer import TrimformerError, TrimformerForMaskedLM, TrimformerModel, load, to_huggingface, trim
from trimformer.encoder.checkpoints.load import read_checkpoint
from trimformer.encoder.model.heads import head_class

SIZES = {
    "vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24,
    "max_position_embeddings": 40,
}  # fmt: skip


def masked_lm(family="bert", **others):
    torch.manual_seed(0)
    model = TrimformerForMaskedLM(tiny(2, family=family, **others).config).eval()
    for name, weight in model.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(weight, std=0.3)
    return model


def is_tied(model):
    return model.head.output.weight is model.encoder.embeddings.word.weight


@pytest.mark.parametrize("family", [*DISTINCT_FAMILIES, "electra"])
def test_it_is_cut_as_gates_cut_the_encoder(family):
    model = masked_lm(family).double()
    batch = padded_batch(model)
    gates = random_gates(model, points_of(model))
    if gates.hidden is not None:
        gates = gates.replace(hidden=gates.hidden * torch.linspace(0.5, 1.5, 16))  # soft: folded into the table
    trimmed = trim(model, gates)
    assert is_tied(trimmed)
    with torch.no_grad():
        difference = trimmed(**batch).logits - model(**batch, gates=gates).logits
    assert difference[batch["attention_mask"].bool()].abs().max() <= 1e-9


def test_it_answers_where_it_is_asked():
    model = masked_lm()
    batch = padded_batch(model)
    asked = batch["attention_mask"].bool() & (torch.rand(4, 9) < 0.3)
    with torch.no_grad():
        every, some = model(**batch).logits, model(**batch, asked=asked, labels=batch["input_ids"][asked])
        nothing = model(**batch, asked=torch.zeros_like(asked), labels=batch["input_ids"].flatten()[:0])
    torch.testing.assert_close(some.logits, every[asked])
    labels = torch.where(asked, batch["input_ids"], -100)
    torch.testing.assert_close(some.loss, model(**batch, labels=labels).loss)
    assert (nothing.logits.shape, nothing.loss.item()) == ((0, 50), 0)


def test_saved_it_is_tied_again(tmp_path):
    model = masked_lm()
    model.save_pretrained(tmp_path)
    for again in (load(tmp_path), AutoModelForMaskedLM.from_pretrained(tmp_path)):
        assert type(again) is TrimformerForMaskedLM
        assert is_tied(again)
        assert torch.equal(again.head.output.weight, model.head.output.weight)


def test_the_head_of_pre_training_counts_only_where_it_is_asked_for(tmp_path):
    torch.manual_seed(0)
    BertForMaskedLM(BertConfig(**SIZES)).save_pretrained(tmp_path)
    assert type(load(tmp_path)) is TrimformerModel
    assert read_checkpoint(tmp_path).head is None
    assert set(read_checkpoint(tmp_path).masked_lm) == {
        f"head.{name}" for name in ("dense.weight", "dense.bias", "norm.weight", "norm.bias", "output.bias")
    }


def test_a_head_with_a_table_of_its_own_is_none(tmp_path):
    model = BertForMaskedLM(BertConfig(**SIZES, tie_word_embeddings=False))
    torch.nn.init.normal_(model.cls.predictions.decoder.weight)
    model.save_pretrained(tmp_path)
    assert read_checkpoint(tmp_path).masked_lm == {}


def test_another_activation_than_the_stock_head_has():
    config = tiny(1, family="roberta").config
    model = head_class("masked-lm")(type(config).from_dict(config.to_dict() | {"hidden_act": "relu"}))
    assert RobertaConfig().hidden_act == "gelu"
    with pytest.raises(TrimformerError, match="activation gelu, not relu"):
        to_huggingface(model)
