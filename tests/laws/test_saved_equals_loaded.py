"""Law: save, load in a fresh process, identical logits."""

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

import trimformer
from tests import fresh
from tests.models import FAMILY_NAMES, padded_batch, points_of, random_gates, tiny, trained
from trimformer import TrimformerForSequenceClassification, trim
from trimformer.encoder.model.heads import HEADS
from trimformer.encoder.shape.kinds import stand_ins


def answer(home: Path) -> None:
    """The logits of each saved model for its saved batch, into a file beside them."""
    for folder in home.iterdir():
        loader, _ = folder.name.split("-", 1)
        auto: Any = getattr(transformers, loader, None) or getattr(trimformer, loader)
        model = auto.from_pretrained(folder / "model").eval()
        batch = torch.load(folder / "batch.pt", weights_only=True)
        with torch.no_grad():
            torch.save(model(**batch).logits, folder / "logits.pt")


def check(models, home):
    """models: by family."""
    expected = {}
    for family, model in models.items():
        loader = type(model).__name__.replace("TrimformerFor", "AutoModelFor")
        folder = home / f"{loader if hasattr(transformers, loader) else type(model).__name__}-{family}"
        batch = padded_batch(model)
        model.save_pretrained(folder / "model")
        torch.save(batch, folder / "batch.pt")
        with torch.no_grad():
            expected[folder] = model(**batch).logits
    fresh.finished(answer, home)
    for folder, logits in expected.items():
        assert torch.equal(torch.load(folder / "logits.pt", weights_only=True), logits), folder.name


def trimmed(family):
    """A layer of each kind that can stand in for attention, and one with attention; parts of all are gone."""
    attention = dict(enumerate(stand_ins(), 1))
    model = trained(trim(tiny(layers=1 + len(attention), family=family), attention=attention))
    return trim(model, random_gates(model, points_of(model)))


def test_a_trimmed_model_loads_in_a_fresh_process_with_identical_logits(tmp_path):
    check({family: trimmed(family) for family in FAMILY_NAMES}, tmp_path)


@pytest.mark.parametrize("head", [head for head in HEADS if head is not TrimformerForSequenceClassification])
def test_other_heads_do_too(head, tmp_path):
    check({family: head(trimmed(family).config).eval() for family in FAMILY_NAMES}, tmp_path)
