"""Law: more padding changes no answer, whatever the attention kinds and gates."""

import pytest
import torch
from torch.nn import functional as F

from tests.models import FAMILY_NAMES, padded_batch, points_of, random_gates, tiny, trained
from trimformer import Gates, trim


@pytest.mark.parametrize("family", FAMILY_NAMES)
@pytest.mark.parametrize(
    "kinds",
    [{}, {1: "mean"}, {0: "mean", 2: "mean"}, {0: "conv", 2: "conv"}, {0: "none", 1: "conv"}, {1: "none", 2: "none"}],
    ids=str,
)
def test_more_padding_changes_no_answer(family, kinds):
    model = trained(trim(tiny(family=family).double(), attention=kinds))
    batch = padded_batch(model)
    longer = {
        name: F.pad(value, (0, 5), value=model.config.pad_token_id if name == "input_ids" else 0)
        for name, value in batch.items()
    }
    with torch.no_grad():
        short, long = model(**batch), model(**longer)
    torch.testing.assert_close(long.logits, short.logits, atol=1e-10, rtol=0)


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_more_padding_changes_no_answer_of_gated_and_of_trimmed_models(family):
    model = trained(trim(tiny(family=family).double(), attention={1: "conv"}))
    gates = random_gates(model, points_of(model))
    batch = padded_batch(model)
    longer = {
        name: F.pad(value, (0, 5), value=model.config.pad_token_id if name == "input_ids" else 0)
        for name, value in batch.items()
    }
    trimmed = trim(model, gates)
    with torch.no_grad():
        torch.testing.assert_close(
            model(**longer, gates=gates).logits, model(**batch, gates=gates).logits, atol=1e-10, rtol=0
        )
        torch.testing.assert_close(trimmed(**longer).logits, trimmed(**batch).logits, atol=1e-10, rtol=0)


def test_a_batch_equals_its_rows_alone():
    model = trained(trim(tiny().double(), attention={0: "conv", 1: "mean"}))
    batch = padded_batch(model)
    with torch.no_grad():
        together = model(**batch).logits
        for row in range(4):
            n = int(batch["attention_mask"][row].sum())
            alone = model(**{name: value[row : row + 1, :n] for name, value in batch.items()}).logits
            torch.testing.assert_close(together[row], alone[0], atol=1e-10, rtol=0)


def test_padding_changes_nothing_under_random_position_gates():
    model = tiny().double()
    batch = padded_batch(model, n=7)
    torch.manual_seed(1)
    positions = torch.rand(3, 4, 1, 7, 7) < 0.4
    longer = {name: F.pad(value, (0, 3)) for name, value in batch.items()}
    with torch.no_grad():
        short = model(**batch, gates=Gates(positions=positions)).logits
        for fill in (False, True):
            wide = F.pad(positions, (0, 3, 0, 3), value=fill)
            torch.testing.assert_close(model(**longer, gates=Gates(positions=wide)).logits, short, atol=1e-10, rtol=0)
