"""Conversion from and to stock checkpoints gives the same answers."""

import pytest
import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    RobertaConfig,
    RobertaForSequenceClassification,
    RobertaModel,
)

from tests.models import padded_batch
from trimformer import TrimformerError, TrimformerForSequenceClassification, TrimformerModel, load, to_huggingface, trim

SIZES = {
    "vocab_size": 50,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 40,
    "initializer_range": 0.3,
}
STOCK = {
    "bert": (BertConfig, BertModel, BertForSequenceClassification, {}),
    "roberta": (
        RobertaConfig,
        RobertaModel,
        RobertaForSequenceClassification,
        {"type_vocab_size": 1, "layer_norm_eps": 1e-5},
    ),
}


def stock(family, head, **others):
    config_class, body, classifier, own = STOCK[family]
    torch.manual_seed(0)
    config = config_class(**SIZES, **own, **others)
    return (classifier if head else body)(config).eval()


@pytest.mark.parametrize("family", STOCK)
def test_a_classifier_gives_the_stock_logits_with_padding(tmp_path, family):
    reference = stock(family, True, id2label={0: "no", 1: "maybe", 2: "yes"})
    reference.save_pretrained(tmp_path)
    model = load(tmp_path)
    assert isinstance(model, TrimformerForSequenceClassification)
    assert model.config.label_names == ["no", "maybe", "yes"]
    batch = padded_batch(model)
    with torch.no_grad():
        torch.testing.assert_close(model(**batch).logits, reference(**batch).logits, atol=1e-5, rtol=0)


@pytest.mark.parametrize("family", STOCK)
def test_a_body_gives_the_stock_hidden_states(tmp_path, family):
    reference = stock(family, False)
    reference.save_pretrained(tmp_path)
    model = load(tmp_path)
    assert isinstance(model, TrimformerModel)
    batch = padded_batch(model)
    real = batch["attention_mask"].bool()
    with torch.no_grad():
        ours = model(**batch, output_hidden_states=True).hidden_states
        theirs = reference(**batch, output_hidden_states=True).hidden_states
    assert len(ours) == len(theirs) == 3
    for mine, expected in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine[real], expected[real], atol=1e-5, rtol=0)


@pytest.mark.parametrize("family", STOCK)
@pytest.mark.parametrize("head", [True, False])
def test_back_to_stock_is_the_same_model(tmp_path, family, head):
    reference = stock(family, head)
    reference.save_pretrained(tmp_path)
    model = load(tmp_path)
    back = to_huggingface(model)
    assert type(back) is type(reference)
    batch = padded_batch(model)
    real = batch["attention_mask"].bool()
    with torch.no_grad():
        ours, theirs = back(**batch)[0], reference(**batch)[0]
    if not head:
        ours, theirs = ours[real], theirs[real]
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=0)


def test_a_bert_body_keeps_its_pooler_for_a_new_head(tmp_path):
    reference = stock("bert", False)
    reference.save_pretrained(tmp_path)
    model = load(tmp_path, labels=["a", "b"])
    assert torch.equal(model.head.dense.weight, reference.pooler.dense.weight)


def test_old_layer_norm_names_are_understood():
    from trimformer.encoder.convert.bert import BERT

    weight = torch.ones(1)
    ours = BERT.to_ours(
        {"bert.embeddings.LayerNorm.gamma": weight, "bert.encoder.layer.1.output.LayerNorm.beta": weight}
    )
    assert set(ours) == {"encoder.embeddings.norm.weight", "encoder.layers.1.ffn_norm.bias"}


def test_a_trimmed_model_cannot_become_stock(tmp_path):
    stock("bert", True).save_pretrained(tmp_path)
    with pytest.raises(TrimformerError, match="full attention"):
        to_huggingface(trim(load(tmp_path), attention={0: "mean"}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"is_decoder": True}, "decoder"), ({"position_embedding_type": "relative_key"}, "absolute positions")],
)
def test_variants_that_cannot_be_expressed_say_why(tmp_path, changes, message):
    from trimformer.encoder.convert.bert import BERT

    config = BertConfig(**SIZES)
    for name, value in changes.items():
        setattr(config, name, value)
    with pytest.raises(TrimformerError, match=message):
        BERT.to_config(config)
