"""The report's size of a model is that of its saved weights, packed where they are."""

from pathlib import Path

import torch

from tests.models import tiny
from trimformer.encoder.packing.groups import rounded
from trimformer.pipeline.results import describe


def test_the_size_is_that_of_the_saved_weights(tmp_path: Path) -> None:
    model, sizes = tiny(), []
    for name in ("plain", "packed"):
        model.save_pretrained(tmp_path / name)
        found = describe(model, tmp_path / name, "trimmed", 8, "accuracy", {"accuracy": 0.5}, 10)
        assert found.bytes == (tmp_path / name / "model.safetensors").stat().st_size
        sizes.append(found.bytes)
        with torch.no_grad():
            model.encoder.embeddings.word.weight.copy_(rounded(model.encoder.embeddings.word.weight, 4))
    assert sizes[1] < sizes[0] - 50 * 16 * 3
