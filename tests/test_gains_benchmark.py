"""benchmarks/gains.py on a tiny shape: a file with a step undone gives the same answers; the tables can be made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trimformer.deploy.onnx import random_inputs

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture
def gains(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import gains

    tiny = {
        name: shape.replace("bert-base", "bert-tiny").replace("2-11=", "1=") for name, shape in gains.MODELS.items()
    }
    monkeypatch.setattr(gains, "MODELS", tiny)
    monkeypatch.setattr(gains, "SIZES", [(2, 8)])
    return gains


def operators(file: Path) -> int:
    import onnx

    return len(onnx.load(str(file)).graph.node)


@pytest.mark.slow
def test_an_undone_step_changes_the_graph_and_no_answer(
    gains: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import gain_tables

    found = {variant.name: variant for variant in gains.variants(1, ["onnx"], tmp_path)}
    inputs = random_inputs(found["dense"].config, 3, 7, padded=True)
    for index, step in enumerate(gains.STEPS):
        plain, undone = found[step.model], found[f"without {index}"]
        np.testing.assert_allclose(undone.run(inputs), plain.run(inputs), atol=1e-5)
        assert operators(tmp_path / step.model / "model.onnx") != operators(tmp_path / str(index) / "model.onnx"), step

    monkeypatch.setattr(gains, "variants", lambda *_: list(found.values()))
    file = tmp_path / "gains.json"
    gains.main(["--backends", "onnx", "--threads", "1", "--json", str(file)])
    content = json.loads(file.read_text())
    header, rows = gain_tables.gains(content)
    assert header[-1] == "onnx"
    assert [row[0] for row in rows] == [step.name for step in gains.STEPS]
    assert all(row[-1].endswith("x") for row in rows)
    assert [row[1] for row in gain_tables.kinds(content)[1]] == list(gains.MODELS)
