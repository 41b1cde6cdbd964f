"""GOBO: outliers by their density, centroids whose distance only falls, and a file as small as the formula says."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open

from tests.learning import context, make_method
from tests.models import FAMILY_NAMES, padded_batch, tiny
from trimformer import load
from trimformer.methods.quantization import gobo
from trimformer.methods.quantization.matrices import FEW, matrices


def values(count: int = 5000, seed: int = 0) -> torch.Tensor:
    found = torch.randn(count, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) / 20
    return found.sort().values


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model.eval()(**padded_batch(model)).logits
    return found


@pytest.fixture(autouse=True)
def small_matrices_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trimformer.methods.quantization.matrices.FEW", 1)


@pytest.mark.parametrize("bits", [1, 3, 5])
def test_the_distance_never_rises_and_is_that_of_the_centroids(bits: int) -> None:
    ordered = values()
    found = gobo.fitted(ordered, bits)
    assert len(found.totals) > 1
    assert all(later < before for before, later in itertools.pairwise(found.totals))
    distances = (ordered[:, None] - found.centroids).abs()
    assert float(distances.min(1).values.sum()) == pytest.approx(found.totals[-1], rel=1e-9)
    assert torch.equal(gobo.nearest(ordered, found.centroids), distances.argmin(1))


def test_the_first_centroids_are_the_means_of_parts_of_equal_size() -> None:
    ordered = values(8)
    start = ordered.view(2, 4).mean(1)
    assert gobo.fitted(ordered, 1).totals[0] == pytest.approx(
        float((ordered[:, None] - start).abs().min(1).values.sum()), rel=1e-12
    )


def test_a_later_round_takes_the_means_of_the_nearest() -> None:
    ordered = torch.tensor([0.0, 1.0, 2.0, 3.0, 10.0, 11.0], dtype=torch.float64)
    # Parts of three: means 1 and 8. Nearest: 0 to 3, and 10, 11; their means 1.5 and 10.5.
    found = gobo.fitted(ordered, 1)
    assert found.centroids.tolist() == [1.5, 10.5]
    assert found.totals == pytest.approx([1 + 0 + 1 + 2 + 2 + 3, 1.5 + 0.5 + 0.5 + 1.5 + 0.5 + 0.5])


def test_outliers_have_a_log_density_below_minus_four() -> None:
    flat = values()
    flat[0], flat[-1] = -0.9, 0.8
    mean, deviation = flat.mean(), flat.std(correction=0)
    reach = deviation * math.sqrt(2 * (4 - math.log(float(deviation) * math.sqrt(2 * math.pi))))
    assert torch.equal(gobo.outliers(flat), (flat - mean).abs() > reach)
    assert gobo.outliers(flat)[[0, -1]].all()
    assert not gobo.outliers(torch.full((9,), 0.3)).any()


def test_outliers_stay_as_they_are() -> None:
    weight = values().view(50, 100).float()
    weight[3, 4] = 2.0
    found, apart = gobo.quantized(weight, 2)
    assert found[3, 4] == 2.0
    assert apart == int(gobo.outliers(weight.flatten().double()).sum()) > 0
    assert len(found.unique()) <= 4 + apart


def test_many_bits_are_nearly_the_weight_and_fewer_are_further_away() -> None:
    weight = values().view(50, 100).float()
    far = [float((gobo.quantized(weight, bits)[0] - weight).abs().sum()) for bits in range(1, 9)]
    assert all(later < before for before, later in itertools.pairwise(far))
    assert far[-1] < 0.02 * float(weight.abs().sum())


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_the_saved_model_is_the_one_in_memory_and_the_start_is_left_as_it_was(family: str, tmp_path: Path) -> None:
    stage = context(family=family, rows=8)
    before = {name: weight.clone() for name, weight in stage.model.state_dict().items()}
    model = make_method("gobo", stage, bits=3, embedding_bits=4).result().model
    assert all(torch.equal(stage.model.state_dict()[name], weight) for name, weight in before.items())
    for matrix in matrices(model):
        assert not torch.equal(matrix.weight, before[matrix.name]), matrix.name
    assert torch.equal(model.state_dict()["head.output.weight"], before["head.output.weight"])
    model.save_pretrained(tmp_path)
    assert torch.equal(logits(load(tmp_path)), logits(model))


def test_the_file_is_as_large_as_bits_dictionaries_and_outliers(tmp_path: Path) -> None:
    stage = context(rows=8)
    model = tiny(hidden_size=64, vocab_size=500, layers=2, labels=2)
    method = make_method("gobo", stage, bits=3, embedding_bits=4)
    method.context = type(stage)(**{**stage.__dict__, "model": model})
    model = method.result().model
    model.save_pretrained(tmp_path)
    with safe_open(tmp_path / "model.safetensors", "pt") as opened:
        said = json.loads(opened.metadata()["packing"])["weights"]
    word, layer = said["encoder.embeddings.word.weight"], said["encoder.layers.0.ffn_in.weight"]
    assert (word["kind"], word["bits"], word["entries"]) == ("dictionary", 4, 16)
    assert (layer["kind"], layer["bits"], layer["entries"]) == ("dictionary", 3, 8)


def test_a_tied_head_has_the_rows_of_the_table() -> None:
    model = make_method("gobo", context(kind="masked-lm", rows=8)).result().model
    assert model.head.output.weight is model.encoder.embeddings.word.weight


def test_small_matrices_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trimformer.methods.quantization.matrices.FEW", FEW)
    stage = context(rows=8)
    model = make_method("gobo", stage).result().model
    assert all(torch.equal(weight, stage.model.state_dict()[name]) for name, weight in model.state_dict().items())


def test_the_report_says_what_is_gained_and_what_not() -> None:
    notes = make_method("gobo", context(rows=8)).result().notes
    assert "outliers and stay as they were" in notes[0]
    assert "the time is the same" in notes[1]
