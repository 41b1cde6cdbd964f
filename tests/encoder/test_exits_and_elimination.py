"""Early exits in an encoder whose layers hand on fewer tokens."""

from typing import Any

import pytest
import torch

from tests.encoder.test_exits import changed, exits, midst, with_exits
from tests.models import DISTINCT_FAMILIES, padded_batch, with_tokens
from trimformer.encoder.model.exits import chosen, early_exit, without_exits
from trimformer.saved.exits import RULES


def fewer(family="bert", rule="entropy", *tokens, layers=4):
    """A model whose texts leave at different exits, and a batch of them."""
    given = exits(rule, 1, reads="head")
    model: Any = with_tokens(with_exits("classification", given, family, layers), *tokens or (0.7, None, 5))
    batch = padded_batch(model, 8, 21)
    return changed(model, threshold=midst(model, batch)) if rule == "entropy" else model, batch


@pytest.mark.parametrize("family", DISTINCT_FAMILIES)
@pytest.mark.parametrize("rule", RULES)
def test_texts_that_leave_get_what_a_pass_through_all_layers_says_of_them(family, rule):
    model, batch = fewer(family, rule)
    with torch.no_grad():
        every = model(**batch, output_exits=True)
        expected = chosen(model, [*every.exit_logits, every.logits], batch["attention_mask"])
        found = early_exit(model, **batch)
    assert found.executed.tolist() == expected.executed.tolist()
    torch.testing.assert_close(found.logits, expected.logits, atol=1e-5, rtol=0)
    assert len(set(found.executed.tolist())) > 1 or rule != "entropy"


@pytest.mark.parametrize("family", DISTINCT_FAMILIES)
def test_a_padded_batch_equals_its_texts_one_by_one(family):
    model, batch = fewer(family)
    with torch.no_grad():
        together = model(**batch)
        for row, n in enumerate(batch["attention_mask"].sum(1).tolist()):
            alone = model(**{name: value[row : row + 1, :n] for name, value in batch.items()})
            assert alone.executed.item() == together.executed[row]
            torch.testing.assert_close(alone.logits[0], together.logits[row], atol=1e-5, rtol=0)


def test_a_threshold_of_0_gives_the_model_without_exits():
    model, batch = fewer()
    with torch.no_grad():
        found = changed(model, threshold=0)(**batch)
        assert found.executed.tolist() == [4] * 8
        torch.testing.assert_close(found.logits, without_exits(model)(**batch).logits, atol=1e-6, rtol=0)


def test_without_a_mask_all_tokens_are_real():
    model, batch = fewer()
    ids = batch["input_ids"][:1]
    with torch.no_grad():
        torch.testing.assert_close(
            early_exit(model, ids).logits, early_exit(model, ids, torch.ones_like(ids)).logits, atol=1e-6, rtol=0
        )
