"""The model card."""

from __future__ import annotations

import ast
import re

import pytest
import yaml

from trimformer.encoder.shape.kinds import ATTENTION
from trimformer.report.card import model_card
from trimformer.report.schema import Report


def _front(card: str) -> dict[str, object]:
    start, front, _ = card.split("---\n", 2)
    assert start == ""
    return yaml.safe_load(front)


def test_front_matter(report: Report) -> None:
    assert _front(model_card(report, "me/small")) == {
        "library_name": "trimformer",
        "pipeline_tag": "text-classification",
        "base_model": "someone/bert-small-sst2",
        "tags": ["trimformer", "compression", "attendout"],
        "metrics": ["accuracy"],
    }


@pytest.mark.parametrize(
    ("model", "base"),
    [
        ("demo", "sentence-transformers/all-MiniLM-L6-v2"),
        ("./models/mine", None),
        ("/data/models/mine", None),
        ("shape:bert-base", None),
    ],
)
def test_base_model_only_where_it_is_a_hub_id(report: Report, model: str, base: str | None) -> None:
    report.model = model
    assert _front(model_card(report, "me/small")).get("base_model") == base


def test_contents(report: Report) -> None:
    card = model_card(report, "me/small")
    headings = re.findall(r"^#+ .*", card, flags=re.MULTILINE)
    assert headings == ["# me/small", "## Use", "## What was removed", "## Scores and speed", "## Limits"]
    assert "In 3 of 6 layers (1, 4, 5; the first layer is 0) self-attention is\nreplaced by a constant mean:" in card
    assert "| PyTorch, batch 1, 32 tokens | 4.35 ms (0.874) | 2.78 ms (0.868) | 1.56× |" in card
    assert "Scores on 872 validation examples" in card
    assert "license" not in card
    assert "http" not in card  # it is read where no page of this package need be reached
    assert "\n\n\n" not in card


def test_every_stand_in_is_named(report: Report) -> None:
    trimmed = report.variant("trimmed")
    assert trimmed is not None
    for index, kind in ((1, "conv"), (5, "none")):
        trimmed.layers[index].attention, trimmed.layers[index].about = kind, ATTENTION[kind].about
    card = model_card(report, "me/small")
    for index, words in [(4, "a constant mean"), (1, "the mean of the values and a conv"), (5, "nothing in its place")]:
        assert re.search(rf"In 1 of 6 layers \({index}; the first layer is 0\) self-attention is\n.*{words}", card)


def test_code_is_python_for_every_name(report: Report) -> None:
    for name in ("me/small", 'odd "name"'):
        code = re.findall(r"```python\n(.*?)```", model_card(report, name), flags=re.DOTALL)[0]
        strings = [node.value for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Constant)]
        assert strings.count(name) == 2
        assert "import trimformer" in code


def test_given_text_cannot_break_the_markdown(report: Report) -> None:
    report.task.labels = ["<script>x</script>", "a|b", "two\nlines"]
    report.notes = ["# not a heading"]
    card = model_card(report, "me/small")
    assert r"\<script\>x\</script\>, a\|b, two lines" in card
    assert r"- \# not a heading" in card


def test_without_measurements(report: Report) -> None:
    report.variants, report.comparison, report.hardware, report.export = [], None, {}, []
    card = model_card(report, "me/small")
    assert "No layer lost its self-attention." in card
    assert "ONNX" not in card
