"""Questions on passages that are kept: by name, over HTTP."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.inference.test_passages import NAMES, PASSAGES, ROWS, write
from trimformer.errors import TrimformerError
from trimformer.inference.passages.encode import encode_passages
from trimformer.inference.predict.labeller import line
from trimformer.inference.predictor import Predictor
from trimformer.inference.serve.server import serve

from .conftest import running


def test_a_request_names_its_passages(tmp_path: Path) -> None:
    model = write(tmp_path / "model", "classification")
    encode_passages(model, PASSAGES, tmp_path / "kept", names=NAMES)
    predictor = Predictor(model, threads=1, passages=tmp_path / "kept")
    asked = {"texts": [row[0] for row in ROWS], "pairs": [row[1] for row in ROWS]}
    expected = [json.loads(line(answer, as_json=True)) for answer in predictor.predict(*asked.values())]
    with running(predictor) as client:
        assert client.post("/predict", json=asked).json() == {"answers": expected}
        missing = client.post("/predict", json={"texts": ["good"], "pairs": ["p9"]})
        assert (missing.status_code, "'p9' is neither the name" in missing.json()["error"]) == (422, True)
        alone = client.post("/predict", json={"texts": ["good"]})
        assert (alone.status_code, "a passage is asked for" in alone.json()["error"]) == (422, True)


def test_no_other_model_is_compared_on_them(tmp_path: Path) -> None:
    with pytest.raises(TrimformerError, match="leave --against or --passages out"):
        serve("a", "127.0.0.1", 0, against="b", passages=tmp_path)
