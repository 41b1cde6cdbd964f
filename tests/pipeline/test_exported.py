"""Exported files are judged by their own answers."""

from __future__ import annotations

from trimformer.pipeline.results import notes_of
from trimformer.report.schema import ExportInfo


def file(name: str, agreement: float | None, score: float) -> ExportInfo:
    return ExportInfo(file=name, bytes=1, precision="", max_abs_error=0.0, label_agreement=agreement, score=score)


def test_a_file_that_answers_otherwise_is_warned_of() -> None:
    good = file("onnx/model.onnx", 1.0, 0.9)
    assert notes_of([good, file("onnx/model_int8.onnx", 0.98, 0.9), file("number", None, 0.9)], "accuracy") == []
    (said,) = notes_of([good, file("onnx/model_int8.onnx", 0.5, 0.4)], "accuracy")
    assert said == (
        "WARNING: onnx/model_int8.onnx answers only 50.0 % of the validation rows as the fp32 file does, and has "
        "accuracy 40.00 for 90.00: use the fp32 file."
    )
