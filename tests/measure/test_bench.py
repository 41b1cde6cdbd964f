"""The whole benchmark: within a minute by default, all by ``thorough``; what is left out is said."""

from __future__ import annotations

import dataclasses
import time
from typing import Any

import numpy as np
import pytest
import torch

from tests.learning import toy_data
from trimformer.console import Ticker
from trimformer.encoder import LayerShape, TrimformerConfig, TrimformerForSequenceClassification
from trimformer.measure.bench import bench as module
from trimformer.measure.bench.bench import bench
from trimformer.measure.bench.budget import ANSWER_SECONDS, BATCHES, Budget, Preparing, time_within
from trimformer.measure.bench.latency import Timing
from trimformer.measure.bench.names import short_names
from trimformer.measure.bench.variants import MAIN, Variant, available_backends
from trimformer.measure.bench.workload import Workload, own_lengths


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trimformer.measure.bench.peak.SIZES", ((64, 64, 64),))
    monkeypatch.setattr("trimformer.measure.bench.latency.MAX_ROUNDS", 500)
    monkeypatch.setattr("trimformer.measure.bench.latency.TURN_SECONDS", 0.0)
    monkeypatch.setattr(module, "available_backends", lambda: ["eager", "sdpa", "torch"])


def tiny() -> Any:
    layers = [dataclasses.asdict(LayerShape("full", 2, 16, 48))]
    config = TrimformerConfig(vocab_size=99, hidden_size=32, max_position_embeddings=40, layers=layers)
    return TrimformerForSequenceClassification(config).eval()


def test_by_default_what_matters_is_measured_and_the_rest_is_named() -> None:
    seen: list[list[Timing]] = []
    result = bench({"a": tiny(), "b": tiny()}, length=[8], threads=1, seconds=0, done=seen.append)
    pairs = [("a", "eager"), ("a", "torch"), ("b", "eager"), ("b", "torch")]
    assert [(t.batch, t.name, t.backend) for t in result.timings] == [
        (size, *pair) for size in (1, 8) for pair in pairs
    ]
    assert all(t.runs >= 3 for t in result.timings)
    assert seen == [result.timings[:4], result.timings[4:]]
    assert (result.peaks, result.footprints) == ([], [])
    assert result.left_out == ["sdpa", "start-up and memory", "the machine's limit"]
    assert result.notes()[-1] == (
        "Left out to answer within a minute: sdpa, start-up and memory, the machine's limit; --thorough measures all, "
        "--backends and --batch some."
    )


def test_thorough_measures_all_and_what_is_asked_for_wins() -> None:
    every = bench({"a": tiny()}, batch=[1], length=[8], threads=1, seconds=0, thorough=True, fresh=False)
    assert [t.backend for t in every.timings] == ["eager", "sdpa", "torch"]
    assert all(t.runs >= 10 for t in every.timings)
    assert every.peaks
    assert (every.footprints, every.left_out) == ([], [])
    asked = bench({"a": tiny()}, batch=[2], length=[8], threads=1, seconds=0, backends=["sdpa"])
    assert [(t.batch, t.backend) for t in asked.timings] == [(2, "sdpa")]
    assert asked.left_out == ["start-up and memory", "the machine's limit"]


def test_the_main_back_ends_are_the_reference_and_the_files_of_each_runtime() -> None:
    found = [name for name in available_backends() if name in MAIN]
    assert found[:2] == ["eager", "torch"]
    assert not {"sdpa", "compile", "torch-compile", "torch-export", "openvino-int4"} & set(found)


def late(seconds: float) -> Budget:
    return Budget(2, started=time.perf_counter() - seconds)


def test_a_calibrated_file_is_made_of_all_models_or_of_none() -> None:
    for spent, made in ((1.0, True), (20.0, False)):  # twice of it for each of two models
        budget = late(spent)
        begin = Preparing(Ticker("Preparing", 4), ["a", "b"], budget.allows)
        assert begin("a", "onnx-int8")
        assert begin("a", "openvino-int8") is made
        budget.started += 100 if spent == 20.0 else -100
        assert begin("b", "openvino-int8") is made
        assert budget.left_out == ([] if made else ["openvino-int8"])


def work(batch: int) -> Workload:
    ids = torch.zeros(batch, 8, dtype=torch.long)
    return Workload(batch, "fixed", ({"input_ids": ids},), np.full(batch, 8))


def timed(budget: Budget, workloads: list[Workload], asked: list[int]) -> list[Timing]:
    def run(inputs: dict[str, torch.Tensor]) -> np.ndarray:
        time.sleep(1e-4 * inputs["input_ids"].numel())
        return np.zeros(1)

    variants = [Variant(name, "torch", run) for name in "ab"]
    return time_within(budget, variants, workloads, asked, 1, 2, 5.0, lambda _: None)


def test_slow_models_get_few_turns_and_a_size_that_nobody_asked_for_is_left_out() -> None:
    budget = late(ANSWER_SECONDS)
    timings = timed(budget, [work(1), work(8)], [1])
    assert [(t.batch, t.runs) for t in timings] == [(1, 2), (1, 2)]
    assert budget.left_out == ["batch 8 × 8 tokens (about 0 s)"]
    budget = late(ANSWER_SECONDS)
    assert [t.batch for t in timed(budget, [work(1), work(8)], [1, 8])] == [1, 1, 8, 8]
    assert budget.left_out == []


def test_of_texts_fewer_are_timed_where_there_is_no_time_for_all() -> None:
    budget = late(ANSWER_SECONDS)
    (own,) = own_lengths(toy_data(20), [1])
    timings = timed(budget, [work(1), own], [1])
    assert [t.runs for t in timings[2:]] == [2 * BATCHES] * 2
    assert budget.left_out == ["16 of 20 texts in batch 1 × texts padded"]
    budget = late(0)
    assert len(timed(budget, [work(1), own], [1])) == 4
    assert budget.left_out == []


def test_fewer_batches_are_evenly_spread_with_the_lengths_of_their_texts() -> None:
    (own,) = [w for w in own_lengths(toy_data(10), [4]) if w.lengths == "bucketed"]
    few = own.fewer(2)
    assert few.tokens.tolist() == [*own.tokens[:4], *own.tokens[8:]]
    assert few.positions == own.batches[0]["input_ids"].numel() + own.batches[2]["input_ids"].numel()
    assert own.fewer(3) is own


@pytest.mark.parametrize(
    ("names", "short"),
    [
        (["demo"], ["demo"]),
        (["/home/me/runs/sst2/model"], ["model"]),
        (["/home/me/run-a/dense/model", "/home/me/run-b/dense/model"], ["run-a", "run-b"]),
        (["runs/sst2-0/dense/model", "runs/sst2-0/model"], ["dense/model", "model"]),
        (["shape:bert-base", "shape:bert-base,attention=2-11=mean"], ["A", "B"]),
        (["org/some-very-long-name", "other/some-very-long-name"], ["org", "other"]),
    ],
)
def test_a_short_name_is_what_differs(names: list[str], short: list[str]) -> None:
    assert list(short_names(names).values()) == short
