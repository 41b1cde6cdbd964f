"""report.json: strict, complete, documented; and the table made from it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from trimformer.report import numbers, schema, summary
from trimformer.report.card import model_card
from trimformer.report.schema import Comparison, ControlInfo, Report, TrainingInfo
from trimformer.report.variants_table import table

MODELS = [
    model
    for model in vars(schema).values()
    if isinstance(model, type) and issubclass(model, BaseModel) and model.model_fields
]
DOCS = Path(__file__).parents[2] / "docs" / "report.md"


def test_survives_json(report: Report) -> None:
    assert Report.model_validate_json(report.model_dump_json()) == report


def test_keeps_numbers_that_are_not_finite(report: Report) -> None:
    report.export[0].max_abs_error = float("inf")
    assert Report.model_validate_json(report.model_dump_json()).export[0].max_abs_error == float("inf")


def test_refuses_unknown_keys_and_other_versions(report: Report) -> None:
    content = report.model_dump()
    with pytest.raises(ValidationError, match="scoer"):
        Report.model_validate({**content, "scoer": 1})
    with pytest.raises(ValidationError, match="format_version"):
        Report.model_validate({**content, "format_version": 3})


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_every_field_is_described_and_documented(model: type[BaseModel]) -> None:
    section = DOCS.read_text(encoding="utf-8").split(f"\n## {model.__name__}\n")[1].split("\n## ")[0]
    for name, field in model.model_fields.items():
        assert field.description, f"{model.__name__}.{name}"
        assert f"| `{name}` |" in section
        assert field.description in section


def test_removed_layers(report: Report) -> None:
    assert report.removed_layers() == [1, 4, 5]
    report.variants = report.variants[:1]
    assert report.removed_layers() == []


def test_layer_that_had_no_attention_before_was_not_removed(report: Report) -> None:
    report.variants[0].layers[4].attention, report.variants[0].layers[4].attends = "mean", False
    assert report.removed_layers() == [1, 5]


def test_table(report: Report) -> None:
    rows = {row.label: row for row in table(report)}
    assert rows["accuracy"].change == "−0.6 points"
    assert (rows["Weights"].dense, rows["Weights"].trimmed, rows["Weights"].change) == ("22.7 M", "21.8 M", "−4 %")
    assert rows["FLOPs at 128 tokens"].change == "−29 %"
    assert rows["PyTorch, batch 1, 32 tokens"].change == "1.56×"
    assert rows["PyTorch, batch 1, 32 tokens"].dense == "4.35 ms (0.874)"
    assert rows["ONNX Runtime int8, batch 1, 32 tokens"].trimmed.endswith("ms (0.858)")  # its own, not that of fp32
    assert rows["Transformers SDPA, batch 1, 32 tokens"].dense.endswith("ms (not scored)")
    only_dense = rows["Transformers SDPA, batch 1, 32 tokens"]
    assert (only_dense.trimmed, only_dense.change) == ("–", "–")


def test_table_never_compares_operations_at_different_lengths(report: Report) -> None:
    report.variants[1].flops_length = 64
    assert next(row for row in table(report) if row.label.startswith("FLOPs")).change == "–"


def test_table_never_compares_times_with_different_threads(report: Report) -> None:
    for entry in report.variants[1].latency_ms:
        entry.threads = 1
    rows = [row for row in table(report) if "threads" in row.label]
    assert rows
    assert all(row.change == "–" for row in rows)
    assert report.speedups() == []


def test_table_of_one_variant(report: Report) -> None:
    report.variants = report.variants[:1]
    assert all(row.change == "–" for row in table(report))


def test_headline(report: Report) -> None:
    assert summary.headline(report).replace("\u00a0", " ") == (
        "Attention removed from 3 of 6 layers: 1.56× as fast at batch 1, 32 tokens on PyTorch, accuracy 0.868 vs 0.874 "
        "(difference −0.6 points, 95 % interval −1.9 to +0.6)."
    )


def test_headline_counts_whole_layers_that_are_gone(report: Report) -> None:
    report.variants[1].layers = report.variants[1].layers[:4]
    assert summary.removal_words(report) == "2 of 6 layers removed, attention removed from 1 of 4 layers"
    report.variants[1].layers = report.variants[0].layers[:4]
    assert summary.removal_words(report) == "2 of 6 layers removed"


def test_headline_says_what_a_student_is_that_is_no_part_of_the_dense_model(report: Report) -> None:
    report.variants[1].layers = report.variants[1].layers[:4]
    report.variants[1].params = round(0.6 * report.variants[0].params)
    report.student = "student of 4 fresh layers, 312 wide"
    said = "Student of 4 fresh layers, 312 wide, 40 % fewer weights"
    assert summary.removal_words(report).replace("\u00a0", " ") == said
    assert report.removed_layers() == summary.size_words(report) == []
    card = model_card(report, "x")
    assert "Nothing: this is a student of 4 fresh layers, 312 wide, which learned from the dense model" in card
    assert "lost its self-attention" not in card


def test_headline_names_the_method_where_no_part_was_removed(report: Report) -> None:
    dense, trimmed = report.variants
    trimmed.layers, report.method = dense.layers, "vocabulary"
    trimmed.params = round(0.6 * dense.params)
    assert summary.removal_words(report).replace("\u00a0", " ") == "Vocabulary, 40 % fewer weights"


def test_headline_says_slower(report: Report) -> None:
    for entry in report.variants[1].latency_ms:
        entry.median *= 2
    assert "slower, 0.78× the speed" in summary.headline(report)


def test_headline_without_measurements(report: Report) -> None:
    report.comparison = None
    for variant in report.variants:
        variant.score, variant.scores, variant.latency_ms = None, {}, []
    assert summary.headline(report) == "Attention removed from 3 of 6 layers."
    assert summary.details(report) == ""


@pytest.mark.parametrize(
    ("metric", "low", "high", "words"),
    [
        ("accuracy", -0.02, 0.01, "do not tell them apart"),
        ("accuracy", 0.0, 0.0, "proves nothing about other texts"),
        ("accuracy", -0.03, -0.01, "is worse by more than chance"),
        ("accuracy", 0.01, 0.03, "is better by more than chance"),
        ("mse", 0.01, 0.03, "is worse by more than chance"),
    ],
)
def test_verdict(report: Report, metric: str, low: float, high: float, words: str) -> None:
    report.comparison = Comparison(
        metric=metric, difference=(low + high) / 2, low=low, high=high, p_value=0.0002, n_examples=872, resamples=2000
    )
    assert words in summary.verdict(report)
    assert "872 validation examples (p < 0.001)" in summary.verdict(report)


def compared(**values: Any) -> Comparison:
    known = {"metric": "accuracy", "difference": 0.0, "low": -0.01, "high": 0.01, "p_value": 1.0, "n_examples": 872}
    return Comparison.model_validate(known | {"resamples": 2000} | values)


def test_an_exact_interval_is_shown_and_named(report: Report) -> None:
    report.comparison = compared(interval="exact", differing=0, resamples=0)
    assert ", exact 95\u00a0% interval −1.0 to +1.0)" in summary.headline(report)
    assert "do not tell them apart: the true difference may lie anywhere in that interval" in summary.verdict(report)
    assert summary.interval_words(report.comparison) == (
        "The interval is exact (Clopper and Pearson), because only 0 answers differ in being right."
    )


def test_how_much_longer_the_trimmed_model_was_trained(report: Report) -> None:
    assert summary.training_words(report) == ""  # a report of before
    report.training = TrainingInfo(epochs=5, distilled=3, on_top=True, dense_epochs=3)
    unknown = ": what that alone brings is not known, because no control was run (--control dense)."
    assert summary.details(report).endswith(
        "The trimmed model was trained for 5 epochs more than the dense one, 3 of them by distillation from it"
        + unknown
    )
    report.training = TrainingInfo(epochs=1, distilled=0, on_top=False, dense_epochs=2.5)
    assert summary.training_words(report) == (
        f"The trimmed model was trained for 1 epoch beside the dense one, which was trained 2.5 epochs{unknown}"
    )
    report.training.dense_epochs = 0
    assert f"which was trained before this run{unknown}" in summary.training_words(report)
    report.task.kind = "masked-lm"  # no control can be run on plain text
    assert summary.training_words(report).endswith("which was trained before this run.")
    report.training.epochs = 0
    assert summary.training_words(report) == ""


def test_the_control_is_compared(report: Report) -> None:
    report.training = TrainingInfo(epochs=5, distilled=3, on_top=True, dense_epochs=3)
    test = compared(difference=-0.02, low=-0.03, high=-0.01, p_value=0.004)
    report.control = ControlInfo(score=0.93, scores={"accuracy": 0.93}, comparison=test)
    assert summary.details(report).endswith(
        "Trained for as long as the trimmed model, with the same data, objective and learning rate, the dense model "
        "has accuracy 0.930; the trimmed one differs from that by −2.0 points, 95\u00a0% interval −3.0 to −1.0. The "
        "trimmed model is worse by more than chance on these 872 validation examples (p = 0.004)."
    )


def test_a_bootstrap_of_few_that_differ_proves_nothing(report: Report) -> None:
    report.comparison = compared(low=-0.01, high=-0.001, differing=4, groups=7, proves=False)
    assert "interval" not in summary.headline(report)
    assert summary.verdict(report) == (
        "Only 4 of the 7 groups of answers to these 872 validation examples (p = 1.000) differ: this proves nothing "
        "about other texts."
    )
    assert summary.interval_words(report.comparison) == ""
    report.comparison = compared(low=-0.01, high=-0.001, differing=70, groups=90)
    assert "bootstrap of 90 groups, whose examples are drawn together" in summary.interval_words(report.comparison)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (numbers.count(999), "999"),
        (numbers.count(999_999), "1.00 M"),
        (numbers.count(22_350_000_000), "22.4 G"),
        (numbers.size(90_855_944), "90.9 MB"),
        (numbers.milliseconds(9.999), "10.0 ms"),
        (numbers.duration(0.031), "0.03 s"),
        (numbers.duration(59.97), "1 min 00 s"),
        (numbers.duration(4210), "1 h 10 min"),
        (numbers.points(-0.0001, "accuracy"), "0.0 points"),
        (numbers.points(0.01, "mse"), "+0.010"),
        (numbers.percent_change(0, 3), "–"),
        (numbers.speedup(3, 0), "–"),
        (numbers.score(-0.05), "−0.050"),
    ],
)
def test_numbers(text: str, expected: str) -> None:
    assert text == expected
