"""How few parts carry most, whether a precision pays, and what is said of it."""

from __future__ import annotations

import dataclasses

import pytest

from tests.models import tiny
from tests.tables import PIECES, table
from trimformer import trim
from trimformer.explanation.advice import conclude
from trimformer.explanation.explain import patterns
from trimformer.explanation.findings import Explanation, FileFinding, LayerFinding, carriers

EXACT = FileFinding("onnx", "fp32", 10.0, 1.0, 0.9, 0.0, 0.0, 0.0)


def int8(speedup: float, difference: float, low: float, backend: str = "onnx-int8") -> FileFinding:
    return FileFinding(backend, "int8", 10 / speedup, speedup, 0.9 + difference, difference, low, 0.01)


def explanation(*files: FileFinding) -> Explanation:
    layers = [
        LayerFinding("full", 0.7, 0.9, [3.0, 1.0], [6.0, 2.0, 1.0, 1.0], 2.0, 4.0, 0.5, 2.0),
        LayerFinding("full", 0.4, 0.5, [1.0, 1.0], [1.0, 0.0, 0.0, 0.0], 1.0, 2.0, 0.5, 1.0),
        LayerFinding("mean", 0.5, 0.6, [0.0, 0.0], [1.0, 1.0, 1.0, 1.0], 0.0, 0.0, 0.0, 0.0),
    ]
    return Explanation(
        "my model", "mine", "a file", "accuracy", "selection", 400, 100, 1, 8, 2, {}, 0.5, layers, "onnx", 1.0,
        [EXACT, *files],
    )  # fmt: skip


def test_the_fewest_that_carry_a_share() -> None:
    assert carriers([1, 6, 1, 2], 0.6) == 1
    assert carriers([1, 6, 1, 2], 0.61) == 2
    assert carriers([1, 6, 1, 2], 0.9) == 3
    assert carriers([0.1] * 10, 0.9) == 9  # whatever the rounding
    assert carriers([1, 6, 1, 2], 1.0) == 4
    assert carriers([0.0, 0.0]) == carriers([]) == 0


def test_time_importance_and_extremes_in_sentences() -> None:
    time, attention, parts, *_ = conclude(explanation())
    assert time == (
        "Of the 10.0 ms that a pass takes under ONNX Runtime (batch 1, 8 tokens), attention has 30 %, feed-forward "
        "blocks 60 %, embeddings and head 10 %."
    )
    assert attention == (
        "The loss, 0.500 as it is, is highest without the attention of layer 0 (0.700) and lowest without that of "
        "layer 1 (0.400)."
    )
    assert parts == (
        "25 to 100 % of the feed-forward units of a layer and 2 of its 2 heads carry 90 % of their importance. Every "
        "layer with half of its units would save 3.00 ms, with half of its heads 1.00 ms."
    )


@pytest.mark.parametrize(
    ("file", "begins", "ends"),
    [
        (int8(2.0, -0.002, -0.004), "int8 pays here: ONNX Runtime int8 is 2.00× as fast", "on 400 rows."),
        (int8(2.0, -0.002, -0.02), "int8 pays here", "so few rows cannot prove that it loses less than 0.5 points."),
        (
            dataclasses.replace(int8(2.0, 0.0, 0.0), proves=False),
            "int8 pays here",
            "so few rows cannot prove that it loses less than 0.5 points.",
        ),
        (dataclasses.replace(int8(2.0, 0.0, -0.004), interval="exact"), "int8 pays here", "+1.0) on 400 rows."),
        (int8(2.0, -0.01, -0.02), "int8 does not pay here", "on 400 rows: more than 0.5 points down."),
        (int8(1.02, 0.0, 0.0), "int8 does not pay here", "on 400 rows."),
    ],
)
def test_whether_int8_pays(file: FileFinding, begins: str, ends: str) -> None:
    (said,) = [line for line in conclude(explanation(file)) if line.startswith("int8 ")]
    assert said.startswith(begins)
    assert said.endswith(ends)
    exports = [line for line in conclude(explanation(file)) if "trimformer export" in line]
    assert len(exports) == (" pays here" in begins)


def test_of_files_that_lose_little_the_fastest_is_named() -> None:
    """A faster one that loses too much does not speak against the precision."""
    lossy, good = int8(3.0, -0.02, -0.03), int8(2.0, 0.0, -0.001, "openvino-int8")
    said = conclude(explanation(lossy, good))
    assert any(line.startswith("int8 pays here: OpenVINO int8 is 2.00×") for line in said)
    assert said[-1].startswith(
        "That gain needs no training: trimformer export 'my model' --to openvino --precision int8 --out FOLDER"
    )


def test_a_precision_that_was_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    for native, said in ((False, "bf16 does not pay here: this processor has no instructions"), (True, "not measured")):
        monkeypatch.setattr("trimformer.explanation.advice.has_native_bf16", lambda native=native: native)
        assert any(said in line for line in conclude(explanation()) if line.startswith("bf16"))


def test_without_attention_nothing_is_said_of_it() -> None:
    found = explanation()
    rest = dataclasses.replace(found, layers=found.layers[2:])
    assert not any("attention of layer" in line for line in conclude(rest))


def test_a_precision_that_answers_otherwise_does_not_pay() -> None:
    odd = dataclasses.replace(int8(2.0, 0.0, 0.0), agreement=0.9)
    said = " ".join(conclude(explanation(odd)))
    assert "WARNING: ONNX Runtime int8 answers only 90.0 % of the selection rows as fp32 does" in said
    assert "int8 does not pay here" in said
    assert "trimformer export" not in said


@pytest.mark.parametrize(("times", "pays"), [({1: 4.0, 2: 7.0}, False), ({1: 1.0, 2: 2.0}, True)])
def test_whether_a_pattern_pays(times: dict[int, float], pays: bool) -> None:
    known = dataclasses.replace(table(first=False), pieces=PIECES | {"sparse/8 within 64 and 1 first": times})
    shapes = trim(tiny(2), attention={0: "sparse"}).config.shapes
    (said,) = patterns(known, shapes)
    assert said.startswith("The pattern pays here: " if pays else "The pattern does not pay here: ")
    assert "1 of 2 layers" in said
    assert patterns(known, tiny(2).config.shapes) == []
