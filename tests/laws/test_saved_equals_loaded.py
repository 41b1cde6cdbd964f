"""Law: save, load in a fresh process, identical logits."""

import subprocess
import sys

import torch

from tests.models import FAMILY_NAMES, padded_batch, points_of, random_gates, tiny, trained
from trimformer import trim

SCRIPT = """
import pathlib, sys, torch, trimformer
from transformers import AutoModelForSequenceClassification
for folder in pathlib.Path(sys.argv[1]).iterdir():
    model = AutoModelForSequenceClassification.from_pretrained(folder / "model").eval()
    batch = torch.load(folder / "batch.pt", weights_only=True)
    with torch.no_grad():
        torch.save(model(**batch).logits, folder / "logits.pt")
"""


def test_a_trimmed_model_loads_in_a_fresh_process_with_identical_logits(tmp_path):
    expected = {}
    for family in FAMILY_NAMES:
        model = trained(trim(tiny(layers=4, family=family), attention={1: "mean", 2: "conv", 3: "none"}))
        model = trim(model, random_gates(model, points_of(model)))
        batch = padded_batch(model)
        model.save_pretrained(tmp_path / family / "model")
        torch.save(batch, tmp_path / family / "batch.pt")
        with torch.no_grad():
            expected[family] = model(**batch).logits
    subprocess.run([sys.executable, "-c", SCRIPT, str(tmp_path)], check=True, capture_output=True)
    for family, logits in expected.items():
        assert torch.equal(torch.load(tmp_path / family / "logits.pt", weights_only=True), logits), family
