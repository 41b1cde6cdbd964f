"""Codebooks for the word table: clusters against points whose clusters are known, and a file as small as is said."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open

from tests.learning import context, make_method
from tests.models import FAMILY_NAMES, padded_batch, tiny
from trimformer import TrimformerError, load
from trimformer.encoder.packing.base import packed
from trimformer.methods.quantization.codebook_embedding import CodebookSettings, clustered, quantized


@pytest.fixture(autouse=True)
def small_matrices_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trimformer.methods.quantization.matrices.FEW", 1)


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model.eval()(**padded_batch(model)).logits
    return found


def test_clusters_that_lie_apart_are_found() -> None:
    middles = torch.tensor([[0.0, 0.0], [9.0, 0.0], [0.0, 9.0]]).double()
    points = torch.cat([middle + 0.1 * torch.randn(40, 2, generator=seeded()).double() for middle in middles])
    found = clustered(points, 3, torch.Generator().manual_seed(4))  # draws one of each
    for index in range(3):
        (own,) = set(found.nearest[40 * index : 40 * (index + 1)].tolist())
        torch.testing.assert_close(found.centroids[own], points[40 * index : 40 * (index + 1)].mean(0))


def test_the_distance_never_rises_and_is_that_of_the_centroids() -> None:
    points = torch.randn(800, 3, generator=seeded()).double()
    found = clustered(points, 16, seeded())
    assert len(found.totals) > 3
    assert all(later <= before for before, later in itertools.pairwise(found.totals))
    distances = (points[:, None] - found.centroids).square().sum(2)
    assert float(distances.min(1).values.sum()) == pytest.approx(found.totals[-1])
    assert torch.equal(distances.argmin(1), found.nearest)


def test_more_entries_and_narrower_parts_are_nearer() -> None:
    table = torch.randn(600, 16, generator=seeded())
    far = [float((quantized(table, 4, bits, 0) - table).square().sum()) for bits in (2, 4, 6)]
    assert far[0] > far[1] > far[2]
    assert (quantized(table, 2, 6, 0) - table).square().sum() < far[2]
    assert torch.equal(quantized(table, 4, 4, 0), quantized(table, 4, 4, 0))


def test_the_packing_reads_the_codebooks_off_the_table() -> None:
    table = quantized(torch.randn(600, 16, generator=seeded()), 4, 5, 0)
    found = packed(table)
    assert found is not None
    assert (found.kind, dict(found.settings)) == ("codebooks", {"width": 4, "entries": 32, "bits": 5})
    assert found.bytes == 600 * 4 * 5 // 8 + 4 * 16 * 32


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_only_the_word_table_changes_and_is_saved_packed(family: str, tmp_path: Path) -> None:
    stage = context(family=family, rows=8)
    model = make_method("codebook-embedding", stage, bits=2).result().model
    before, after = stage.model.state_dict(), model.state_dict()
    assert {name for name in before if not torch.equal(before[name], after[name])} == {"encoder.embeddings.word.weight"}
    for part in after["encoder.embeddings.word.weight"].split(4, 1):
        assert len(part.unique(dim=0)) <= 4
    model.save_pretrained(tmp_path)
    with safe_open(tmp_path / "model.safetensors", "pt") as opened:
        said = json.loads(opened.metadata()["packing"])["weights"]["encoder.embeddings.word.weight"]
    assert (said["kind"], said["width"], said["bits"]) == ("codebooks", 4, 2)
    assert torch.equal(logits(load(tmp_path)), logits(model))


def test_a_tied_head_has_the_rows_of_the_table() -> None:
    model = make_method("codebook-embedding", context(kind="masked-lm", rows=8), bits=2).result().model
    assert model.head.output.weight is model.encoder.embeddings.word.weight


def test_what_cannot_be_divided_or_is_no_smaller_is_refused() -> None:
    method: Any = type(make_method("codebook-embedding", context(rows=8), bits=2))
    config = tiny(hidden_size=20, vocab_size=50).config
    with pytest.raises(TrimformerError, match="20 columns, which cannot be divided into parts of width=8"):
        method.check(CodebookSettings(width=8, bits=2), config)
    with pytest.raises(TrimformerError, match="50 rows, and codebooks of 64 entries would be no smaller"):
        method.check(CodebookSettings(bits=6), config)


def test_the_report_says_what_was_lost() -> None:
    method = make_method("codebook-embedding", context(rows=8), bits=2)
    assert method.result().notes[0].startswith("The word table has 4 entries for every 4 columns and lost ")
    assert method.settings.label == "codebook-embedding, 0.5 bits for a weight"
