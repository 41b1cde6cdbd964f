"""Early exits in the encoder: the rule, the batch that shrinks, and what trimming and saving make of them."""

import numpy as np
import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from tests.models import DISTINCT_FAMILIES, padded_batch, points_of, random_gates, tiny
from trimformer import Gates, TrimformerConfig, TrimformerError, cost, trim
from trimformer.encoder.model.heads import (
    HEADS,
    TrimformerForSequenceClassification,
    TrimformerForTokenClassification,
)
from trimformer.encoder.shape.exits import ANSWERS, WITHOUT, ExitShape, Leaving, exits_of

NUMBER = {"problem_type": "regression", "labels": 1}
KINDS = {
    "classification": (TrimformerForSequenceClassification, {}),
    "multilabel": (TrimformerForSequenceClassification, {"problem_type": "multi_label_classification"}),
    "regression": (TrimformerForSequenceClassification, NUMBER),
    "tokens": (TrimformerForTokenClassification, {}),
}


def exits(rule="entropy", threshold=0.5, after=(0, 1, 2), **others):
    return {"after": list(after), "rule": rule, "threshold": threshold, **others}


def with_exits(kind="classification", given=None, family="bert", layers=4):
    cls, fields = KINDS[kind]
    if given is None:
        given = exits("patience", 1, tolerance=0.5) if kind == "regression" else exits()
    torch.manual_seed(3)
    model = cls(tiny(layers, family=family, **fields, exits=given).config).eval()
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter, std=0.3)
    return model


def rows_of(model, batch, output):
    """The real logits of each row."""
    for row, length in zip(output, batch["attention_mask"].sum(1), strict=True):
        yield row[:length] if output.ndim == 3 else row


def changed(model, **fields):
    """The same weights under other settings of the exits."""
    model.config.exits = model.config.exits | fields
    return model


def midst(model, batch):
    """A threshold below which about half of the rows are at the second exit."""
    with torch.no_grad():
        logits = model(**batch, output_exits=True).exit_logits[1]
    entropy = ANSWERS[model.kind].entropy
    rows = rows_of(model, batch, logits)
    return float(np.median([entropy(own.numpy()).max() for own in rows]))


@pytest.mark.parametrize("family", DISTINCT_FAMILIES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rule", ["entropy", "patience"])
def test_a_padded_batch_equals_its_texts_one_by_one(family, kind, rule):
    if (kind, rule) == ("regression", "entropy"):
        pytest.skip("a number has no entropy")
    more = {"tolerance": 0.5} if kind == "regression" else {}
    model = with_exits(kind, exits(rule, 0.8 if rule == "entropy" else 1, **more), family).double()
    batch = padded_batch(model, 12, 14)
    if rule == "entropy":
        changed(model, threshold=midst(model, batch))
    with torch.no_grad():
        out = model(**batch)
        every = model(**batch, output_exits=True)
        for index, own in enumerate(rows_of(model, batch, out.logits)):
            length = int(batch["attention_mask"][index].sum())
            alone = model(**{name: value[index : index + 1, :length] for name, value in batch.items()})
            assert alone.executed.item() == out.executed[index].item()
            torch.testing.assert_close(alone.logits[0], own, atol=1e-10, rtol=0)
            stack = [*every.exit_logits, every.logits]
            expected = stack[out.executed[index].item() - 1][index]
            torch.testing.assert_close(own, expected[: len(own)] if own.ndim == 2 else expected, atol=1e-10, rtol=0)
    assert rule == "patience" or len(set(out.executed.tolist())) > 1
