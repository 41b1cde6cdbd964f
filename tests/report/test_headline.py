"""The one sentence that a run comes to: which file it is of, what it says, and what it leaves out."""

from __future__ import annotations

import math

import pytest

from trimformer.report import headline, summary
from trimformer.report.card import model_card
from trimformer.report.report import html
from trimformer.report.schema import ExportInfo, Headline, Latency, ModelInfo, Report

MS = {
    "dense": {"eager": 13.2, "sdpa": 12.0, "torch": 11.0, "onnx": 4.0, "onnx-int8": 2.0},
    "trimmed": {"torch": 9.0, "onnx": 3.0, "onnx-int8": 1.2},
}
FILES = [
    ExportInfo(file=f"onnx/{name}", bytes=1, precision=precision, max_abs_error=0.0)
    for name, precision in (("model.onnx", "fp32"), ("model.int8.onnx", "int8"))
]
SAID = (
    "13.2 ms → 1.20 ms for a text of 24 tokens: 11×, accuracy 96.2 → 95.9 (runtime 3.3×, int8 2.0×, removed parts "
    "1.67×)."
)


def model(name: str, scores: dict[str, float], agreement: float = 1.0) -> ModelInfo:
    """A variant that was timed on one text, and on a batch that no headline speaks of."""
    times = [
        Latency(
            backend=backend, batch=batch, length=24, median=ms * batch, p95=ms * batch, runs=9, threads=2,
            score=scores.get(backend), label_agreement=agreement if backend == "onnx-int8" else 1.0,
        )
        for batch in (1, 8)
        for backend, ms in MS[name].items()
    ]  # fmt: skip
    return ModelInfo(
        name=name, score=scores["torch"], metric="accuracy", n_examples=1000, params=1, bytes=1,
        flops_per_example=1.0 if name == "dense" else 0.5, flops_length=24, latency_ms=times,
    )  # fmt: skip


DENSE = model("dense", {"torch": 0.962, "onnx": 0.962, "onnx-int8": 0.96})


def trimmed(agreement: float = 0.99) -> ModelInfo:
    return model("trimmed", {"torch": 0.961, "onnx": 0.961, "onnx-int8": 0.959}, agreement)


def found(
    dense: ModelInfo = DENSE, agreement: float = 0.99, files: list[ExportInfo] = FILES, gpu: bool = False
) -> Headline:
    one = headline.find(dense, trimmed(agreement), files, gpu)
    assert one is not None
    return one


def without(variant: ModelInfo, *backends: str) -> ModelInfo:
    times = [entry for entry in variant.latency_ms if entry.backend not in backends]
    return variant.model_copy(update={"latency_ms": times})


def test_it_is_of_the_fastest_file_with_its_own_score() -> None:
    one = found()
    assert (one.file, one.ms, one.score, one.start_score) == ("onnx/model.int8.onnx", 1.2, 0.959, 0.962)
    assert headline.sentence(one) == SAID
    assert headline.explanation(one) == (
        "That is from the dense model under Transformers eager to onnx/model.int8.onnx under ONNX Runtime int8, "
        "measured in one run on 2 threads and 1,000 validation rows."
    )


def test_the_factors_multiply_to_the_whole() -> None:
    one = found()
    factors = [one.runtime_factor, one.precision_factor, one.removal_factor]
    product = math.prod(factor for factor in factors if factor is not None)
    assert product == pytest.approx(one.start_ms / one.ms)


def test_where_nothing_was_removed_what_differs_is_noise() -> None:
    alike = trimmed().model_copy(update={"flops_per_example": DENSE.flops_per_example})
    one = headline.find(DENSE, alike, FILES, gpu=False)
    assert one is not None
    assert headline.sentence(one).endswith("(runtime 3.3×, int8 2.0×).")


def test_a_file_that_answers_otherwise_is_not_deployed() -> None:
    assert headline.sentence(found(agreement=0.97)) == (
        "13.2 ms → 3.00 ms for a text of 24 tokens: 4.4×, accuracy 96.2 → 96.1 (runtime 3.3×, removed parts 1.33×)."
    )


@pytest.mark.parametrize("missing", ["files", "gpu"])
def test_without_files_it_is_the_model_in_pytorch(missing: str) -> None:
    one = found(files=[], gpu=False) if missing == "files" else found(gpu=True)
    assert (one.file, one.backend) == (None, "torch")
    assert headline.sentence(one) == (
        "13.2 ms → 9.00 ms for a text of 24 tokens: 1.47×, accuracy 96.2 → 96.1 (runtime 1.20×, removed parts 1.22×)."
    )
    assert "to the trimmed model under PyTorch" in headline.explanation(one)


def test_what_was_not_measured_is_not_said() -> None:
    assert headline.sentence(found(without(DENSE, "eager", "sdpa"))).startswith("11.0 ms → 1.20 ms")
    assert headline.sentence(found(without(DENSE, "onnx"))).endswith("95.9 (removed parts 1.67×).")
    assert headline.sentence(found(without(DENSE, "onnx-int8"))).endswith("95.9 (runtime 3.3×).")
    only = found(without(DENSE, "eager", "sdpa", "torch"))
    assert headline.sentence(only).endswith("(int8 2.0×, removed parts 1.67×).")  # the start is that runtime
    unscored = found().model_copy(update={"score": None, "batch": 8})
    assert headline.sentence(unscored).startswith("13.2 ms → 1.20 ms for a batch of 8 texts of 24 tokens: 11× (runtime")
    assert "rows" not in headline.explanation(unscored)


def test_an_error_keeps_its_unit() -> None:
    one = found().model_copy(update={"metric": "mae", "start_score": 1.25, "score": 1.5})
    assert ", mae 1.250 → 1.500 (" in headline.sentence(one)


def test_nothing_timed_no_headline() -> None:
    untimed = DENSE.model_copy(update={"latency_ms": []})
    assert headline.find(untimed, trimmed(), FILES, gpu=False) is None
    assert headline.find(DENSE, trimmed().model_copy(update={"latency_ms": []}), FILES, gpu=False) is None


def test_page_and_card_lead_with_it(report: Report) -> None:
    before = summary.headline(report)
    report.headline = found()
    assert summary.headline(report) == SAID
    assert f"<h1>{SAID}</h1>" in html(report)
    assert f"# me/small\n\n{SAID} That is from" in model_card(report, "me/small").replace("\\_", "_")
    details = summary.details(report).replace("\u00a0", " ")
    assert "Attention removed from 3 of 6 layers: in fp32 accuracy 0.868 vs 0.874 (difference −0.6 points, " in details
    assert Report.model_validate_json(report.model_dump_json()) == report
    old = report.model_dump()
    del old["headline"]
    assert summary.headline(Report.model_validate(old)) == before
