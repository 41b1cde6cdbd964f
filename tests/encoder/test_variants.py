"""What a family's configuration can say beside the usual: the same answers, and the laws hold for it too."""

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from tests.encoder.test_convert import STOCK_HEADS, answers, stock
from tests.models import FAMILY_NAMES, hard_gates, padded_batch, tiny
from trimformer import TrimformerError, cost, load, to_huggingface, trim
from trimformer.encoder.checkpoints.families import FAMILIES
from trimformer.encoder.model.exported import ExportedEncoder
from trimformer.encoder.model.heads import TrimformerForMaskedLM

BIASES = {"attention_bias": True, "mlp_bias": True, "norm_bias": True, "classifier_bias": True}
LOCAL = {"layer_types": ["sliding_attention"] * 2, "local_attention": 5}
ROPE = {kind: {"rope_type": "default", "rope_theta": base} for kind, base in [("full_attention", 7.0)]}
VARIANTS = [
    ("deberta-v2", {"share_att_key": False}),
    ("deberta-v2", {"share_att_key": False, "pos_att_type": ["c2p"], "norm_rel_ebd": "none"}),
    ("deberta-v2", {"pos_att_type": "p2c", "position_biased_input": True, "type_vocab_size": 2}),
    ("deberta-v2", {"position_buckets": -1, "max_relative_positions": 5, "pooler_hidden_act": "tanh"}),
    ("deberta-v2", {"position_buckets": 5, "max_relative_positions": -1}),
    ("deberta-v2", {"pos_att_type": [], "position_biased_input": True}),
    ("deberta-v2", {"relative_attention": False, "pos_att_type": None, "norm_rel_ebd": "none"}),
    ("modernbert", {"classifier_pooling": "mean"}),
    ("modernbert", BIASES),
    ("modernbert", LOCAL | {"classifier_activation": "tanh"}),
    ("modernbert", {"layer_types": None, "global_attn_every_n_layers": 1, "global_rope_theta": 50.0}),
    ("modernbert", {"layer_types": None, "rope_parameters": ROPE, "num_hidden_layers": 4}),
]
VARIANT = pytest.mark.parametrize(("family", "changes"), VARIANTS, ids=str)


@VARIANT
@pytest.mark.parametrize("head", STOCK_HEADS)
def test_from_stock_and_back(tmp_path, family, changes, head):
    reference = stock(family, head, **changes)
    reference.save_pretrained(tmp_path)
    model = load(tmp_path, kind="masked-lm" if head is TrimformerForMaskedLM else None)
    batch = padded_batch(model, n=11)
    expected = answers(reference, batch)
    assert expected.std() > 0.01
    torch.testing.assert_close(answers(model, batch), expected, atol=1e-5, rtol=0)
    back = to_huggingface(model)
    for implementation in ("eager", "sdpa"):
        if back._supports_sdpa:  # ModernBERT has both; DeBERTa has neither to choose from
            back.set_attn_implementation(implementation)
        torch.testing.assert_close(answers(back, batch), expected, atol=1e-5, rtol=0)


@VARIANT
def test_the_laws_hold(tmp_path, family, changes):
    stock(family, STOCK_HEADS[0], **changes).save_pretrained(tmp_path)
    model = load(tmp_path).double()
    layers = model.config.num_hidden_layers
    for removed in ({0}, {1}, set(range(layers))):
        trimmed = trim(model, attention=dict.fromkeys(removed, "mean"))
        batch = padded_batch(model)
        with torch.no_grad():
            expected = trimmed(**batch).logits
            for kind in ("attention", "positions"):
                gated = model(**batch, gates=hard_gates(kind, layers, 4, 9, removed)).logits
                torch.testing.assert_close(gated, expected, atol=1e-10, rtol=0)
            folded = ExportedEncoder(trimmed)(**batch)
            torch.testing.assert_close(folded, expected, atol=1e-8, rtol=0)
        with FlopCounterMode(display=False) as counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
            trimmed(torch.randint(4, 50, (1, 9)), torch.ones(1, 9, dtype=torch.long))
        assert counter.get_total_flops() == cost(trimmed, 9).flops
        assert cost(trimmed, 9).params == sum(weight.numel() for weight in trimmed.parameters())


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_training_in_bf16_reaches_every_weight(family):
    model = tiny(layers=4, family=family, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    model = trim(model, attention={1: "conv", 3: "none"}).train()
    batch = padded_batch(model)
    with torch.autocast("cpu", torch.bfloat16):
        loss = model(**batch, labels=torch.tensor([0, 1, 2, 0])).loss
    loss.backward()
    without = [name for name, weight in model.named_parameters() if weight.grad is None or not weight.grad.any()]
    # A key's bias moves all scores of a query alike.
    assert not [name for name in without if not name.endswith("key.bias")]
    assert all(weight.grad.isfinite().all() for weight in model.parameters() if weight.grad is not None)
    assert abs(loss.item() - model(**batch, labels=torch.tensor([0, 1, 2, 0])).loss.item()) < 0.1


REFUSED = [
    ("deberta-v2", {"conv_kernel_size": 3}, "conv_kernel_size 3"),
    ("deberta-v2", {"embedding_size": 8}, "embeddings 8 wide"),
    ("deberta-v2", {"relative_attention": False, "pos_att_type": "c2p"}, "no relative_attention"),
    ("mpnet", {"relative_attention_num_buckets": 16}, "relative_attention_num_buckets 16"),
    (
        "modernbert",
        {"rope_parameters": {"full_attention": {"rope_type": "linear", "factor": 2.0, "rope_theta": 9.0}}},
        "rotary positions of type 'linear'",
    ),
]


@pytest.mark.parametrize(("family", "changes", "message"), REFUSED)
def test_variants_that_cannot_be_expressed_say_why(family, changes, message):
    with pytest.raises(TrimformerError, match=message):
        FAMILIES[family].to_config(FAMILIES[family].body_class.config_class(**changes))


def test_a_window_that_no_stock_model_has_stays_ours():
    model = tiny()
    config = model.config.to_dict() | {"layers": [layer | {"window": 4} for layer in model.config.layers]}
    with pytest.raises(TrimformerError, match="full attention"):
        to_huggingface(type(model)(type(model.config).from_dict(config)))
