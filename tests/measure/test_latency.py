"""Timing: every variant is there, taking turns, and what cannot run says why."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.learning import toy_data
from trimformer.console import Ticker
from trimformer.encoder import LayerShape, TrimformerConfig, TrimformerForSequenceClassification, TrimformerModel
from trimformer.errors import TrimformerError
from trimformer.measure.bench.latency import COMMON, Timing, _alternate, benchmark, speedups, time_variants
from trimformer.measure.bench.variants import Variant
from trimformer.measure.bench.workload import Workload, own_lengths
from trimformer.measure.cost import cost


def tiny(*kinds: str, cls: Any = TrimformerForSequenceClassification) -> Any:
    layers = [dataclasses.asdict(LayerShape(kind, 2, 16, 48)) for kind in kinds]  # type: ignore[arg-type]
    return cls(TrimformerConfig(vocab_size=99, hidden_size=32, max_position_embeddings=40, layers=layers)).eval()


def test_all_backends_and_the_reason_for_a_missing_one() -> None:
    before = torch.get_num_threads()
    models = {"dense": tiny("full", "full"), "trimmed": tiny("full", "mean")}
    backends = [*COMMON, "torch-bf16"]
    timings = benchmark(models, shapes=[(1, 8), (3, 12)], threads=1, repeats=2, seconds=0, backends=backends)
    assert torch.get_num_threads() == before
    assert [(t.batch, t.name, t.backend) for t in timings] == [
        (batch, name, backend) for batch in (1, 3) for name in models for backend in backends
    ]
    for timing, ratio in zip(timings, speedups(timings), strict=True):
        if timing.name == "trimmed" and timing.backend in ("eager", "sdpa"):
            assert "full attention" in timing.skipped
            assert (timing.median_ms, timing.runs, ratio) == (None, 0, None)
        else:
            assert timing.skipped == ""
            assert timing.runs >= 2
            assert timing.median_ms is not None
            assert timing.p95_ms is not None
            assert 0 < timing.median_ms <= timing.p95_ms
            assert timing.sequences_per_s == pytest.approx(1e3 * timing.batch / timing.median_ms)
            assert timing.tokens_per_s == pytest.approx(timing.length * timing.sequences_per_s)
            counted = cost(models[timing.name], timing.length).flops
            assert timing.flops_per_s == pytest.approx(counted * timing.sequences_per_s)


def test_bare_body_and_named_shape() -> None:
    timings = benchmark(
        [tiny("full", cls=TrimformerModel), "mine=shape:bert-tiny"],
        batch=[1], length=[8, 16], backends=["torch", "eager"], repeats=1, seconds=0,
    )  # fmt: skip
    assert {t.name for t in timings} == {"model 1", "mine"}
    assert all(t.median_ms for t in timings)
    assert len(timings) == 8


def test_the_data_s_own_lengths() -> None:
    data = toy_data(20)
    timings = benchmark([tiny("full")], batch=[1, 4], length=[8], data=data, backends=["torch"], repeats=1, seconds=0)
    ways = [(t.batch, t.lengths) for t in timings]
    assert ways == [(1, "fixed"), (4, "fixed"), (1, "padded"), (4, "padded"), (4, "bucketed")]
    assert timings[-1].length == round(data.lengths.mean())
    assert timings[-1].runs >= 5


def test_bucketed_batches_hold_the_same_texts_with_less_padding() -> None:
    data = toy_data(30)
    padded, bucketed = own_lengths(data, [4])

    def positions(workload: Workload) -> int:
        return sum(batch["input_ids"].numel() for batch in workload.batches)

    def texts(workload: Workload) -> list[list[int]]:
        return sorted(
            row[mask.bool()].tolist()
            for batch in workload.batches
            for row, mask in zip(batch["input_ids"], batch["attention_mask"], strict=True)
        )

    assert texts(padded) == texts(bucketed) == sorted(data.ids[a:b].tolist() for a, b in _spans(data.offsets))
    assert positions(bucketed) < positions(padded)
    assert bucketed.tokens.tolist() == sorted(data.lengths)


def _spans(offsets: np.ndarray) -> list[tuple[int, int]]:
    return list(zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True))


def test_many_texts_are_sampled_over_the_whole_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trimformer.measure.bench.workload.SAMPLE", 3)
    data = toy_data(21)
    assert own_lengths(data, [1])[0].tokens.tolist() == data.lengths[[0, 10, 20]].tolist()


WORK = Workload(1, "fixed", ({},), np.array([8]))


def test_variants_take_turns_and_short_passes_are_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trimformer.measure.bench.latency.MAX_ROUNDS", 10)
    calls: list[str] = []
    variants = {
        index: Variant(name, "torch", lambda _, name=name: calls.append(name))  # type: ignore[misc]
        for index, name in enumerate("ab")
    }
    times = _alternate(variants, WORK, repeats=4, seconds=0, tick=Ticker("Timing", 4))
    assert calls == ["a", "b"] * 4
    assert [len(passes) for passes in times.values()] == [4, 4]
    monkeypatch.setattr("trimformer.measure.bench.latency.TURN_SECONDS", 0.001)
    calls.clear()
    times = _alternate(variants, WORK, repeats=1, seconds=0, tick=Ticker("Timing", 4))
    assert "".join(calls).count("ab") == 2  # two turns
    assert sum(map(len, times.values())) == len(calls) - 4  # the first pass of each turn is left out


def test_a_variant_that_fails_says_why_and_the_run_goes_on() -> None:
    def broken(_: Any) -> Any:
        raise RuntimeError("no compiler\nlong trace")

    variants = [Variant("a", "torch", broken), Variant("b", "torch", lambda _: np.zeros(1))]
    seen: list[list[Timing]] = []
    timings = time_variants(variants, [WORK], threads=1, repeats=1, seconds=0, done=seen.append)
    assert [t.skipped for t in timings] == ["RuntimeError: no compiler", ""]
    assert timings[1].median_ms is not None
    assert timings[1].flops_per_s is None
    assert seen == [timings]


def test_speedups_are_relative_to_the_first_that_ran() -> None:
    def timing(name: str, batch: int, speed: float | None) -> Timing:
        return Timing(name, "torch", batch, 8, speed, speed, 1, 1, sequences_per_s=speed)

    given = [timing("a", 1, None), timing("b", 1, 4.0), timing("c", 1, 8.0), timing("b", 2, 9.0)]
    assert speedups(given) == [None, 1.0, 2.0, 1.0]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"backends": ["tpu"]}, "Unknown backend 'tpu'"),
        ({"length": [41]}, "at most 40 tokens, not 41"),
        ({"batch": []}, "at least 1"),
        ({"threads": 0}, "at least 1"),
        ({"data": dataclasses.replace(toy_data(4), ids=toy_data(4).ids + 99)}, "another vocabulary"),
    ],
)
def test_mistakes_are_named(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(TrimformerError, match=words):
        benchmark([tiny("full")], **({"length": [8], "backends": ["torch"]} | arguments))


def test_training_mode_is_refused() -> None:
    with pytest.raises(TrimformerError, match=r"model\.eval\(\)"):
        benchmark([tiny("full").train()], length=[8])


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(TrimformerError, match="There is no file"):
        benchmark([tmp_path / "model.onnx"], length=[8])
