"""Conversion from and to stock checkpoints gives the same answers."""

import inspect

import pytest
import torch
from transformers import BertConfig

from tests.models import FAMILY_NAMES, padded_batch
from trimformer import TrimformerError, TrimformerModel, load, to_huggingface, trim
from trimformer.encoder.checkpoints.families import FAMILIES
from trimformer.encoder.checkpoints.families.bert import BERT
from trimformer.encoder.model.heads import HEADS, TrimformerForEmbedding, TrimformerForMaskedLM

SIZES = {
    "vocab_size": 50,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 40,
    "initializer_range": 0.3,
}
ROBERTA = {"type_vocab_size": 1, "layer_norm_eps": 1e-5, "pad_token_id": 1}
# What the configuration of a family says beside the sizes.
OWN = {
    "roberta": ROBERTA,
    "xlm-roberta": ROBERTA,
    "camembert": ROBERTA,
    "electra": {"embedding_size": 12},
    "albert": {"embedding_size": 12},
    "deberta-v2": {
        "relative_attention": True,
        "pos_att_type": "p2c|c2p",
        "position_buckets": 6,
        "max_relative_positions": 20,
        "norm_rel_ebd": "layer_norm",
        "share_att_key": True,
        "position_biased_input": False,
    },
    "modernbert": {"local_attention": 4, "pad_token_id": 0, "layer_types": ["full_attention", "sliding_attention"]},
}
# transformers has no class that pools into vectors.
STOCK_HEADS = [head for head in HEADS if head is not TrimformerForEmbedding]
HEADS_OR_BODY = pytest.mark.parametrize(
    "head", [*STOCK_HEADS, None], ids=lambda head: head.__name__ if head else "body"
)


def stock(family, head, **others):
    """A random model of the transformers library; no weight of it is zero."""
    known = FAMILIES[family]
    cls = known.head_classes[head] if head else known.body_class
    fields = {known.renamed.get(name, name): value for name, value in (SIZES | OWN.get(family, {}) | others).items()}
    torch.manual_seed(0)
    model = cls(cls.config_class(**fields))
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    return model.eval()


def answers(model, batch):
    """All outputs as one tensor, padding left out of those that are per token."""
    takes = inspect.signature(model.forward).parameters
    with torch.no_grad():
        out = model(**{name: value for name, value in batch.items() if name in takes})
    values = torch.stack([out.start_logits, out.end_logits], -1) if "start_logits" in out else out[0]
    return values[batch["attention_mask"].bool()] if values.ndim == 3 else values


@pytest.mark.parametrize("family", FAMILY_NAMES)
@HEADS_OR_BODY
def test_from_stock_and_back(tmp_path, family, head):
    labels = {0: "start", 1: "end"} if head and head.kinds == ("spans",) else {0: "no", 1: "maybe", 2: "yes"}
    reference = stock(family, head, id2label=labels)
    reference.save_pretrained(tmp_path)
    kind = (
        head.kinds[0] if head is TrimformerForMaskedLM else None
    )  # the head of pre-training comes only when asked for
    model = load(tmp_path, kind=kind)
    assert type(model) is (head or TrimformerModel)
    assert head is None or model.config.label_names == list(labels.values())
    batch = padded_batch(model)
    expected = answers(reference, batch)
    assert expected.std() > 0.01
    torch.testing.assert_close(answers(model, batch), expected, atol=1e-5, rtol=0)
    back = to_huggingface(model)
    assert type(back) is type(reference)
    torch.testing.assert_close(answers(back, batch), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert", "albert", "mpnet", "modernbert", "deberta-v2"])
def test_a_body_gives_the_stock_hidden_states(tmp_path, family):
    reference = stock(family, None)
    reference.save_pretrained(tmp_path)
    model = load(tmp_path)
    batch = padded_batch(model)
    real = batch.pop("attention_mask").bool()
    batch.pop("token_type_ids")
    with torch.no_grad():
        ours = model(**batch, attention_mask=real, output_hidden_states=True).hidden_states
        theirs = reference(**batch, attention_mask=real, output_hidden_states=True).hidden_states
    assert len(ours) == len(theirs) == 3
    for mine, expected in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine[real], expected[real], atol=1e-5, rtol=0)


def test_embeddings_as_wide_as_the_layers_are_not_projected(tmp_path):
    reference = stock("electra", None, embedding_size=16)
    reference.save_pretrained(tmp_path)
    model = load(tmp_path)
    assert model.config.embedding_size is None
    batch = padded_batch(model)
    torch.testing.assert_close(answers(model, batch), answers(reference, batch), atol=1e-5, rtol=0)
    assert not hasattr(to_huggingface(model), "embeddings_project")


@pytest.mark.parametrize(("family", "longest"), [("bert", 40), ("xlm-roberta", 38), ("distilbert", 40)])
def test_the_longest_input_is_what_the_positions_allow(tmp_path, family, longest):
    stock(family, None).save_pretrained(tmp_path)
    model = load(tmp_path)
    assert model.config.max_tokens == longest
    model(torch.full((1, longest), 5))
    with pytest.raises(IndexError):
        model(torch.full((1, longest + 1), 5))


def test_a_bert_body_keeps_its_pooler_for_a_new_head(tmp_path):
    reference = stock("bert", None)
    reference.save_pretrained(tmp_path)
    model = load(tmp_path, labels=["a", "b"])
    assert torch.equal(model.head.dense.weight, reference.pooler.dense.weight)


def test_head_dropout_is_carried_over_and_back(tmp_path):
    stock("distilbert", STOCK_HEADS[0], seq_classif_dropout=0.4).save_pretrained(tmp_path)
    model = load(tmp_path)
    assert model.head.dropout.p == 0.4
    assert to_huggingface(model).config.seq_classif_dropout == 0.4


def test_old_layer_norm_names_are_understood():
    weight = torch.ones(1)
    names = ["bert.embeddings.LayerNorm.gamma", "bert.encoder.layer.1.output.LayerNorm.beta"]
    ours = BERT.to_ours(dict.fromkeys(names, weight), BERT.to_config(BertConfig(**SIZES)))
    assert set(ours) == {"encoder.embeddings.norm.weight", "encoder.layers.1.ffn_norm.bias"}


def test_a_layer_that_the_configuration_does_not_have_fails_loudly(tmp_path):
    stock("bert", None, num_hidden_layers=3).save_pretrained(tmp_path)
    BertConfig(**SIZES, architectures=["BertModel"]).save_pretrained(tmp_path)
    with pytest.raises(TrimformerError, match=r"encoder\.layer\.2\.\S+ is not in the shape"):
        load(tmp_path)


def test_a_trimmed_model_cannot_become_stock(tmp_path):
    stock("bert", STOCK_HEADS[0]).save_pretrained(tmp_path)
    with pytest.raises(TrimformerError, match="full attention"):
        to_huggingface(trim(load(tmp_path), attention={0: "mean"}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"is_decoder": True}, "decoder"), ({"position_embedding_type": "relative_key"}, "absolute positions")],
)
def test_variants_that_cannot_be_expressed_say_why(changes, message):
    config = BertConfig(**SIZES)
    for name, value in changes.items():
        setattr(config, name, value)
    with pytest.raises(TrimformerError, match=message):
        BERT.to_config(config)
