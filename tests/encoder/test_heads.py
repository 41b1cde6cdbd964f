"""The losses of every kind of task."""

import pytest
import torch
from torch.nn import functional as F
from transformers import BertConfig, BertForQuestionAnswering, BertForTokenClassification

from tests.models import tiny
from trimformer import TrimformerForQuestionAnswering, TrimformerForSequenceClassification
from trimformer.encoder.checkpoints.load import with_labels
from trimformer.encoder.model.heads import HEADS, IGNORED, head_class, task_loss
from trimformer.training.distill import logit_loss

CONFIG = BertConfig(
    vocab_size=30, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=24, num_labels=3
)
IDS = torch.randint(4, 30, (3, 6), generator=torch.Generator().manual_seed(0))
MASK = torch.tensor([[1] * 6, [1] * 4 + [0] * 2, [1] * 2 + [0] * 4])


def test_every_kind_has_one_head():
    assert head_class("multilabel") is TrimformerForSequenceClassification
    assert head_class("spans") is TrimformerForQuestionAnswering
    kinds = [kind for head in HEADS for kind in head.kinds]
    assert len(set(kinds)) == len(kinds) == 8


def test_token_loss_is_that_of_the_stock_model():
    model = BertForTokenClassification(CONFIG).eval()
    labels = torch.where(MASK.bool(), IDS % 3, IGNORED)
    out = model(IDS, MASK, labels=labels)
    torch.testing.assert_close(task_loss("tokens", out.logits, labels), out.loss)


def test_a_batch_without_token_labels_has_loss_zero():
    assert task_loss("tokens", torch.randn(2, 3, 4), torch.full((2, 3), IGNORED)).item() == 0


def test_span_loss_is_that_of_the_stock_model_where_nothing_is_padded():
    model = BertForQuestionAnswering(BertConfig(**{**CONFIG.to_dict(), "num_labels": 2})).eval()
    start, end = torch.tensor([1, 0, 2]), torch.tensor([3, 0, 5])
    out = model(IDS, start_positions=start, end_positions=end)
    logits, labels = torch.stack([out.start_logits, out.end_logits], -1), torch.stack([start, end], -1)
    torch.testing.assert_close(task_loss("spans", logits, labels, torch.ones_like(IDS)), out.loss)


def test_no_part_of_a_span_lies_on_padding():
    logits, labels = torch.zeros(3, 6, 2), torch.zeros(3, 2, dtype=torch.long)
    expected = MASK.sum(1).log().mean()
    torch.testing.assert_close(task_loss("spans", logits, labels, MASK), expected)


def test_several_labels_are_independent():
    logits, labels = torch.tensor([[2.0, -1.0]]), torch.tensor([[1.0, 0.0]])
    expected = -(F.logsigmoid(torch.tensor(2.0)) + F.logsigmoid(torch.tensor(1.0))) / 2
    torch.testing.assert_close(task_loss("multilabel", logits, labels), expected)


@pytest.mark.parametrize(("kind", "shape"), [("tokens", (3, 6, 4)), ("spans", (3, 6, 2)), ("multilabel", (3, 4))])
def test_logit_loss_is_zero_for_equals_positive_for_others_and_blind_to_padding(kind, shape):
    generator = torch.Generator().manual_seed(1)
    student, teacher = torch.randn(shape, generator=generator), torch.randn(shape, generator=generator)
    assert logit_loss(kind, teacher, teacher, MASK, 2.0).item() == pytest.approx(0, abs=1e-6)
    loss = logit_loss(kind, student, teacher, MASK, 2.0)
    assert 0 < loss.item() < 10
    if kind != "multilabel":
        other = torch.where(MASK.bool()[..., None], student, torch.full_like(student, 7.0))
        torch.testing.assert_close(logit_loss(kind, other, teacher, MASK, 2.0), loss)


def test_the_divergence_of_several_labels_is_that_of_coins():
    p, q = torch.tensor(0.8), torch.tensor(0.3)  # teacher, student
    expected = p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()
    loss = logit_loss("multilabel", q.logit()[None, None], p.logit()[None, None], MASK, 1.0)
    torch.testing.assert_close(loss, expected)


def test_the_problem_type_decides_the_loss():
    ids = torch.tensor([[4, 5], [6, 7]])
    several = load_tiny("multilabel", ("a",))
    expected = F.binary_cross_entropy_with_logits(several(ids).logits, torch.ones(2, 1))
    torch.testing.assert_close(several(ids, labels=torch.ones(2, 1)).loss, expected)
    number = load_tiny("regression", ())
    expected = (number(ids).logits[:, 0] - 2).square().mean()
    for labels in (torch.full((2,), 2), torch.full((2, 1), 2.0)):
        torch.testing.assert_close(number(ids, labels=labels).loss, expected)


def load_tiny(kind, labels):
    return TrimformerForSequenceClassification(with_labels(tiny().config, labels, kind)).eval()
