"""Law: the bytes of a form that are computed from shapes are those that are counted, but for 8 of each outlier."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from safetensors import safe_open

from tests.learning import context, make_method
from tests.models import DISTINCT_FAMILIES
from trimformer.search.goals.forms import FORMS, Form, bytes_beside_weights, bytes_in_form, bytes_of


@pytest.fixture(autouse=True)
def every_matrix(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the tests are smaller than what is written in few bits else."""
    monkeypatch.setattr("trimformer.methods.quantization.matrices.FEW", 64)


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
@pytest.mark.parametrize("family", DISTINCT_FAMILIES)
def test_counted_equals_computed(form: Form, family: str, tmp_path: Path) -> None:
    stage = context(layers=1, family=family)
    model = make_method(stage=stage, **form.method).result().model
    model.save_pretrained(tmp_path)
    with safe_open(tmp_path / "model.safetensors", "pt") as opened:
        counted = sum(opened.get_tensor(name).nbytes for name in opened.keys())  # noqa: SIM118
        packed = json.loads(opened.metadata()["packing"])["weights"].values()
    outliers = sum(one.get("outliers", 0) for one in packed)
    assert packed
    assert counted == bytes_in_form(stage.model, form) + 8 * outliers


def test_forms_are_in_the_order_of_their_bytes() -> None:
    model = context(layers=1).model
    sizes = [bytes_in_form(model, form) for form in FORMS]
    assert sizes == sorted(sizes)
    assert len(set(sizes)) == len(sizes)


def test_the_bytes_of_a_folder_are_those_of_all_its_files(tmp_path: Path) -> None:
    (tmp_path / "1_Pooling").mkdir()
    for name, size in {"model.safetensors": 7, "config.json": 2, "1_Pooling/config.json": 1}.items():
        (tmp_path / name).write_bytes(b"0" * size)
    assert (bytes_of(tmp_path), bytes_beside_weights(tmp_path)) == (10, 3)
