"""Law: save, load in a fresh process, identical logits."""

import subprocess
import sys

import pytest
import torch

from tests.models import padded_batch, tiny
from trimformer import trim

SCRIPT = """
import sys, torch, trimformer
from transformers import AutoModelForSequenceClassification
model = AutoModelForSequenceClassification.from_pretrained(sys.argv[1] + "/model").eval()
batch = torch.load(sys.argv[1] + "/batch.pt", weights_only=True)
with torch.no_grad():
    torch.save(model(**batch).logits, sys.argv[1] + "/logits.pt")
"""


@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_a_trimmed_model_loads_in_a_fresh_process_with_identical_logits(tmp_path, family):
    model = trim(tiny(family=family), attention={1: "mean"})
    batch = padded_batch(model)
    model.save_pretrained(tmp_path / "model")
    torch.save(batch, tmp_path / "batch.pt")
    subprocess.run([sys.executable, "-c", SCRIPT, str(tmp_path)], check=True, capture_output=True)
    with torch.no_grad():
        expected = model(**batch).logits
    assert torch.equal(torch.load(tmp_path / "logits.pt", weights_only=True), expected)
