"""What is said of a search: what was reached, what was missed and what it takes, and whether it holds."""

from __future__ import annotations

import math
from typing import Any

import pytest

from trimformer.deploy.mend import Mended
from trimformer.report.schema import Comparison, TaskInfo
from trimformer.search.conclusion import conclude
from trimformer.search.schema import AutopilotReport, ConfirmationInfo, FileInfo, PointInfo


def point(name: str, drop: float, speedup: float, max_drop: float = 0.5) -> PointInfo:
    return PointInfo(
        name=name, removed="", epochs=1, score=0.9 - drop / 100, drop=drop, ms=12 / speedup, speedup=speedup,
        inside=drop <= max_drop, frontier=True, folder=f"points/{name}/model",
    )  # fmt: skip


def file(name: str, drop: float, speedup: float) -> FileInfo:
    return FileInfo(
        name=name, backend="onnx-int8", ms=12 / speedup, speedup=speedup, score=0.9, drop=drop, inside=drop <= 0.5
    )


def said(chosen: FileInfo, points: list[PointInfo], low: float = -0.001, **others: Any) -> str:
    test = Comparison(
        metric="accuracy", difference=others.pop("difference", 0.001), low=low, high=0.01, p_value=0.5,
        n_examples=1200, resamples=2000, **others.pop("test", {}),
    )  # fmt: skip
    settings = {"time_budget": None, "post_training": False, "training": {"epochs": 3}} | others.pop("settings", {})
    others = {"task": TaskInfo.model_construct(n_selection=500)} | others
    report = AutopilotReport.model_construct(
        chosen=chosen, points=points, files=others.pop("files", [chosen]), reference="eager", reference_ms=12.0,
        workload="batch 1, 8 tokens", max_drop=0.5,
        recipe={"autopilot": settings}, comparison=test,
        **{"min_speedup": None, "inside": True, "hardware": {}} | others,
    )  # fmt: skip
    return " ".join(conclude(report))


def test_what_was_reached() -> None:
    assert said(file("a3", 0.2, 4.0), [point("a3", 0.2, 3.0)]) == (
        "a3 under ONNX Runtime int8 is 4.0× as fast as the dense model under Transformers eager: 3.00 ms against "
        "12.0 ms (batch 1, 8 tokens). It was trained for 1 epoch more than the dense model, and by distillation from it"
        ": what that alone brings is not known, because no control was run. On the 1,200 validation rows its accuracy "
        "differs from that of the dense model by +0.1 points (95 % interval −0.1 to +1.0): inside the budget of 0.5 "
        "points."
    )


def test_agreement_is_never_said_as_a_score_by_labels() -> None:
    task = TaskInfo.model_construct(n_selection=500, pseudo_labels=True)
    text = said(file("a3", 0.2, 4.0), [point("a3", 0.2, 3.0)], task=task)
    assert "its agreement (accuracy) differs from that of the dense model" in text
    assert "inside the budget of 0.5 points of agreement" in text
    labelled = task.model_copy(update={"labelled_validation": True})
    text = said(file("a3", 0.2, 4.0), [point("a3", 0.2, 3.0)], task=labelled)
    assert "its accuracy differs" in text
    assert "by the labels that these rows have." in text
    chosen = file("dense", 0.0, 2.0)
    text = said(chosen, [point("a3", 0.7, 3.0)], task=task, settings={"training": {"epochs": 3}})
    assert "it takes --max-disagreement 0.7" in text


@pytest.mark.parametrize(
    ("upper", "groups", "end"),
    [
        (0.4, None, "at most 0.40, one-sided 95 % interval, for all tried together"),
        (0.4, 40, "at most 0.40, one-sided 95 % interval, for all tried together, 40 groups drawn as a whole"),
        (math.inf, 9, "unproven: fewer than 10 groups differ"),
        (math.inf, None, "unproven: fewer than 10 answers differ"),
    ],
)
def test_how_sure_the_confirmation_is(upper: float, groups: int | None, end: str) -> None:
    one = ConfirmationInfo(
        name="a3", backend="onnx", n_examples=500, drop=0.1, upper=upper, rows=None, confirmed=True, groups=groups
    )
    task = TaskInfo.model_construct(n_selection=500)
    text = said(file("a3", 0.2, 4.0), [point("a3", 0.2, 3.0)], confirmations=[one], task=task)
    assert f"0.10 on 500 confirmation rows that chose nothing ({end}): confirmed." in text


@pytest.mark.parametrize(("drop", "speedup"), [(0.1, 5.0), (30.0, 5.0), (0.1, 2.0)])
def test_a_file_that_answers_otherwise_is_warned_of(drop: float, speedup: float) -> None:
    """Also where it would not have been taken: that int8 collapses is never silent."""
    odd = file("a3", drop, speedup).model_copy(update={"agreement": 0.91})
    text = said(file("a3", 0.2, 4.0), [point("a3", 0.2, 3.0)], files=[odd])
    assert "WARNING: a3 under ONNX Runtime int8 answers only 91.0 % of the selection rows as fp32 does" in text


def test_the_maps_that_stay_in_fp32_are_said() -> None:
    mended = file("a3", 0.1, 5.0).model_copy(
        update={"agreement": 0.991, "mended": Mended(("layers.0.ffn_out",), 15, 0.5)}
    )
    text = said(file("a3", 0.2, 4.0), [point("a3", 0.2, 3.0)], files=[mended])
    assert (
        "a3 under ONNX Runtime int8: 1 of 15 maps stay in fp32 (layers.0.ffn_out). It answers 99.1 % of the selection "
        "rows as fp32 does, with all maps in int8 50.0 %." in text
    )


def test_a_model_on_the_gpu_is_no_equal_of_a_file_on_the_cpu() -> None:
    text = said(file("a3", 0.2, 4.0), [point("a3", 0.2, 3.0)], hardware={"gpu": "H100"})
    assert "as fast as the dense model under Transformers eager on the GPU: 3.00 ms against" in text


def test_few_rows_prove_nothing() -> None:
    chosen, points = file("a3", 0.2, 4.0), [point("a3", 0.2, 3.0)]
    assert said(chosen, points, low=-0.02).endswith(
        "inside the budget of 0.5 points, though so few rows cannot prove it."
    )
    assert said(chosen, points, difference=-0.01, inside=False).endswith(": outside the budget of 0.5 points.")


def test_an_interval_of_too_few_that_differ_is_no_proof_but_for_the_dense_file_itself() -> None:
    none = {"proves": False, "differing": 0, "groups": 40}
    text = said(file("a3", 0.2, 4.0), [point("a3", 0.2, 3.0)], low=0.0, difference=0.0, test=none)
    assert text.endswith(
        "by 0.0 points (too few answers differ for an interval): inside the budget of 0.5 points, "
        "though so few rows cannot prove it."
    )
    itself = file("dense", 0.0, 1.0).model_copy(update={"backend": "onnx"})
    exact = {"interval": "exact", "differing": 0}
    text = said(itself, [], low=-0.01, difference=0.0, test=exact)
    assert text.endswith("(exact 95 % interval −1.0 to +1.0): inside the budget of 0.5 points.")


def test_nothing_inside_names_the_nearest_and_what_it_takes() -> None:
    text = said(file("dense", 0.0, 2.0), [point("far", 3.0, 9.0), point("near", 0.701, 3.4)])
    assert text.startswith("The dense model under ONNX Runtime int8 is 2.0× as fast")
    assert "stayed inside the budget of 0.5 points on the selection rows, so that the dense model was only exp" in text
    assert "Nearest came near (points/near/model), which loses 0.70 points and is 3.4× as fast: it takes" in text
    assert "--max-drop 0.71, or more --epochs and time." in text


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        ([], "The dense model was only exported, because no candidate was found that would be worth trying."),
        ([point("slow", 0.1, 1.1)], "What could be removed inside the budget brought no more speed than that."),
    ],
)
def test_other_reasons_to_keep_the_dense_model(points: list[PointInfo], expected: str) -> None:
    assert expected in said(file("dense", 0.0, 2.0), points)


def test_no_time_for_any_candidate() -> None:
    text = said(file("dense", 0.0, 2.0), [], settings={"time_budget": 60.0})
    assert "no candidate was found in the time there was: give a longer --time-budget." in text


def test_what_more_time_would_bring() -> None:
    file_, points = file("a3", 0.2, 4.0), [point("a3", 0.2, 3.0)]
    more = "at most 1 of 6 epochs in the time there was: a longer --time-budget trains them further."
    assert more in said(file_, points, settings={"time_budget": 60.0})
    assert "longer" not in said(file_, points, settings={"time_budget": 60.0, "training": {"epochs": 0.5}})
    assert "--time-budget" not in said(file_, points, settings={"time_budget": 60.0, "post_training": True})


def test_not_as_fast_as_was_asked_for() -> None:
    chosen, points = file("a3", 0.2, 4.0), [point("a3", 0.2, 3.0), point("a1", 2.5, 7.0), point("a0", 9.0, 8.0)]
    assert "less than the 6× asked for: a1 reaches 7.0×, and takes --max-drop 2.5." in said(
        chosen, points, min_speedup=6
    )
    assert "asked for, which nothing reached." in said(chosen, points, min_speedup=60)
    assert "asked for" not in said(chosen, points, min_speedup=4)
