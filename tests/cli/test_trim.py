"""trim cuts a sub-network out of a model that was trained to hold some, or of the folder of the run that left it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.command import sentence, trimformer
from tests.tinymodel import words_tokenizer, write_stock_bert
from trimformer import load

NESTED = {"widths": [1.0, 0.5], "depths": [1.0, 0.5]}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """What is needed of the folder of a run."""
    model = load(write_stock_bert(tmp_path / "head", ["pos", "neg"]))
    model.config.nested = NESTED
    model.save_pretrained(tmp_path / "run" / "model")
    words_tokenizer().save_pretrained(tmp_path / "run" / "model")
    (tmp_path / "run" / "report.json").write_text("{}")
    return tmp_path / "run"


@pytest.mark.parametrize("place", ["run", "model"])
def test_a_sub_network_of_a_run(run: Path, tmp_path: Path, place: str) -> None:
    given = run if place == "run" else run / "model"
    result = trimformer("trim", given, "--width", 0.5, "--depth", 0.5, "--out", tmp_path / "small")
    assert result.code == 0, result.err
    small = load(tmp_path / "small")
    assert [(shape.heads, shape.ffn) for shape in small.config.shapes] == [(1, 12)]
    assert trimformer("predict", tmp_path / "small", stdin="good\n").code == 0


def test_one_of_the_two_is_enough(run: Path, tmp_path: Path) -> None:
    assert trimformer("trim", run, "--width", 0.5, "--out", tmp_path / "thin").code == 0
    assert [(shape.heads, shape.ffn) for shape in load(tmp_path / "thin").config.shapes] == [(1, 12)] * 2


def test_what_cannot_be_cut_out_is_refused(run: Path, tmp_path: Path) -> None:
    out = ["--out", tmp_path / "small"]
    said = sentence(trimformer("trim", tmp_path / "head", "--width", 0.5, *out))
    assert said.startswith("This model was not trained to hold smaller ones")
    assert said.endswith("(trimformer compress MODEL --method dynabert), and trim what that leaves.")
    said = sentence(trimformer("trim", run, "--width", 0.7, *out))
    assert said == "No width of 0.7 was trained in this model: choose one of 1, 0.5."
    for options in ([], ["--width", 0.5, "--attention", "0=mean"]):
        said = sentence(trimformer("trim", run, *options, *out))
        assert said == "trim needs either --attention, or --width and --depth: give one of the two."
    assert not (tmp_path / "small").exists()
