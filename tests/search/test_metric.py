"""What is better decides, whichever way the metric goes: in training, in the search, in what is said of it."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from tests.learning import context, make_method
from trimformer.explanation.advice import conclude as advise
from trimformer.explanation.findings import Explanation, FileFinding
from trimformer.measure.bench.latency import Timing
from trimformer.measure.bench.variants import Variant
from trimformer.methods import finetune
from trimformer.report import numbers
from trimformer.report.schema import Comparison, TaskInfo
from trimformer.report.summary import verdict
from trimformer.search import measurement
from trimformer.search.conclusion import conclude
from trimformer.search.confirmation import confirmation
from trimformer.search.measurement import DENSE, Measurement, measurements_of
from trimformer.search.schedule.halving import inside, order
from trimformer.search.schema import AutopilotReport, ConfirmationInfo, FileInfo, PointInfo
from trimformer.tasks.data import Task
from trimformer.tasks.kinds import KINDS
from trimformer.tasks.metric import metric
from trimformer.tasks.outcome import Outcome

PRICES = Task("prices", "regression", (), ("mae", "pearson"), "here")


@pytest.mark.parametrize(("name", "sign"), [("mae", -1), ("pearson", 1)])
def test_the_epoch_that_is_kept(monkeypatch: pytest.MonkeyPatch, name: str, sign: int) -> None:
    stage = context(kind="regression")
    object.__setattr__(stage, "task", KINDS["regression"].scored_by(stage.task, name))
    learner = make_method("finetune", stage)
    labels = stage.selection.labels

    def validated(noise: float) -> float:
        logits = labels + noise * (np.arange(len(labels)) % 3)
        monkeypatch.setattr(finetune, "predict_logits", lambda *_: logits[:, None])
        return learner.validate()  # type: ignore[no-any-return]

    assert validated(0.1) > validated(2.0)
    assert np.sign(validated(0.1)) == sign


def timed(name: str, ms: float) -> tuple[Variant, Timing]:
    return Variant(name, "torch", None), Timing(name, "torch", 1, 8, ms, ms, 1, 1, sequences_per_s=1e3 / ms)


def measured(monkeypatch: pytest.MonkeyPatch, name: str, scores: dict[str, float]) -> list[Measurement]:
    pairs = [timed(model, 10.0 - place) for place, model in enumerate(scores)]
    monkeypatch.setattr(measurement, "timed", lambda *_: pairs)
    workload: Any = None
    given = {(model, "torch"): measurement.Scored(score, None) for model, score in scores.items()}
    return measurements_of([variant for variant, _ in pairs], given, workload, 1, metric(name))


def test_of_an_error_the_lower_one_is_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    found = measured(monkeypatch, "mae", {DENSE: 100.0, "better": 90.0, "near": 102.0, "far": 150.0})
    assert [one.drop for one in found] == [0, -10, 2, 50]
    assert [one.timing.name for one in found if inside(one, 2.0)] == [DENSE, "better", "near"]
    assert [one.timing.name for one in order(found, 2.0)] == ["near", "better", DENSE, "far"]


def test_of_a_share_the_higher_one_is_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    found = measured(monkeypatch, "f1_macro", {DENSE: 0.9, "better": 0.95, "near": 0.89, "far": 0.5})
    assert [one.timing.name for one in found if inside(one, 2.0)] == [DENSE, "better", "near"]


@pytest.mark.parametrize("sure", [None, 0.05])
def test_an_error_is_confirmed_where_it_rises_little(sure: float | None) -> None:
    truth = np.arange(60.0)

    def judged(error: float, max_drop: float) -> Any:
        before, after = (Outcome({}, truth + by, truth, KINDS["regression"].metric(PRICES)) for by in (1.0, error))
        return confirmation("a", "onnx", PRICES.metric, before, after, max_drop, sure=sure, resamples=100)

    assert judged(0.5, 0.0).confirmed  # better
    assert judged(3.0, 2.1).confirmed
    assert not judged(3.0, 1.9).confirmed
    if sure:
        assert judged(3.0, 2.1).upper == pytest.approx(2.0)
        assert judged(1.0, 0.5).upper == np.inf  # no answer differs
        unknown = ConfirmationInfo(
            name="a", backend="onnx", n_examples=60, drop=0.0, upper=np.inf, rows=600, confirmed=False
        )
        assert json.loads(unknown.model_dump_json())["upper"] == "Infinity"


def comparison(difference: float, low: float, high: float) -> Comparison:
    return Comparison(
        metric="mae", difference=difference, low=low, high=high, p_value=0.01, n_examples=60, resamples=100
    )


def test_the_conclusion_of_a_search_by_an_error() -> None:
    chosen = FileInfo(name="a3", backend="onnx", ms=3, speedup=4, score=1021.5, drop=12.3456, inside=True)
    point = PointInfo(
        name="a3", removed="", epochs=1, score=1021.5, drop=12.3456, ms=3, speedup=4, inside=True, frontier=True,
        folder="points/a3/model",
    )  # fmt: skip
    task = TaskInfo.model_construct(n_selection=50)
    confirmed = ConfirmationInfo(
        name="a3", backend="onnx", n_examples=40, drop=14, upper=None, rows=None, confirmed=True
    )
    report = AutopilotReport.model_construct(
        chosen=chosen, points=[point], files=[chosen], reference="eager", reference_ms=12.0, workload="batch 1",
        max_drop=20.0, recipe={"autopilot": {"time_budget": None}}, comparison=comparison(13.0, -2.0, 25.0),
        confirmations=[confirmed], task=task, min_speedup=None, inside=True, hardware={},
    )  # fmt: skip
    text = " ".join(conclude(report))
    assert "It loses 12.346 in the labels' unit on the 50 selection rows and 14.000 on 40 confirmation rows" in text
    assert (
        "its mae differs from that of the dense model by +13.000 (95 % interval −2.000 to +25.000): inside the" in text
    )
    assert text.endswith("budget of 20 in the labels' unit, though so few rows cannot prove it.")
    assert conclude(report.model_copy(update={"max_drop": 25.0}))[-1].endswith("budget of 25 in the labels' unit.")


def test_a_higher_error_is_worse_in_the_verdict() -> None:
    report: Any = type("Any", (), {"comparison": comparison(13.0, 2.0, 25.0)})
    assert verdict(report).startswith("The trimmed model is worse by more than chance")
    report.comparison = comparison(-13.0, -25.0, -2.0)
    assert verdict(report).startswith("The trimmed model is better by more than chance")


def test_scores_in_tables() -> None:
    assert numbers.hundredths(0.925, "accuracy") == "92.50"
    assert numbers.hundredths(20412.37, "mae") == "20412.4"
    assert numbers.hundredths(0.0123, "rmse") == "0.012"
    assert numbers.score(0.9, "accuracy") == "0.900"


def test_a_precision_with_a_higher_error_does_not_pay() -> None:
    def said(score: float) -> str:
        files = [
            FileFinding("onnx", "fp32", 10.0, 1.0, 100.0, 0.0, 0.0, 0.0),
            FileFinding("onnx-int8", "int8", 5.0, 2.0, score, score - 100, score - 101, score - 99.9),
        ]
        found = Explanation(
            "m", "prices", "a file", "mae", "selection", 400, 100, 1, 8, 2, {}, 0.5, [], "onnx", 1.0, files
        )
        return next(line for line in advise(found) if line.startswith("int8"))

    assert said(99.0).startswith("int8 pays here")
    assert said(99.0).endswith("rows.")  # half a percent is allowed, and the interval lies below it
    assert said(110.0).startswith("int8 does not pay here")
    assert said(110.0).endswith("more than 0.5 in the labels' unit down.")
