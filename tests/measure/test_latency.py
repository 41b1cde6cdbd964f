"""Timing: every variant is there, taking turns, and what cannot run says why."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch

from trimformer.console import Ticker
from trimformer.encoder import LayerShape, TrimformerConfig, TrimformerForSequenceClassification, TrimformerModel
from trimformer.errors import TrimformerError
from trimformer.measure.latency import Timing, _alternate, benchmark, speedups
from trimformer.measure.variants import BACKENDS, Variant


def tiny(*kinds: str, cls: Any = TrimformerForSequenceClassification) -> Any:
    layers = [dataclasses.asdict(LayerShape(kind, 2, 16, 48)) for kind in kinds]  # type: ignore[arg-type]
    return cls(TrimformerConfig(vocab_size=99, hidden_size=32, max_position_embeddings=40, layers=layers)).eval()


def test_all_backends_and_the_reason_for_a_missing_one() -> None:
    before = torch.get_num_threads()
    models = {"dense": tiny("full", "full"), "trimmed": tiny("full", "mean")}
    timings = benchmark(models, shapes=[(1, 8), (3, 12)], threads=1, repeats=2, seconds=0)
    assert torch.get_num_threads() == before
    assert [(t.batch, t.name, t.backend) for t in timings] == [
        (batch, name, backend) for batch in (1, 3) for name in models for backend in BACKENDS
    ]
    for timing, ratio in zip(timings, speedups(timings), strict=True):
        if timing.name == "trimmed" and timing.backend in ("eager", "sdpa"):
            assert "full attention" in timing.skipped
            assert (timing.median_ms, timing.runs, ratio) == (None, 0, None)
        else:
            assert timing.skipped == ""
            assert timing.runs == 2
            assert timing.median_ms is not None
            assert timing.p95_ms is not None
            assert 0 < timing.median_ms <= timing.p95_ms


def test_bare_body_and_named_shape() -> None:
    timings = benchmark(
        [tiny("full", cls=TrimformerModel), "shape:bert-tiny"],
        batch=[1], length=[8, 16], backends=["torch", "eager"], repeats=1, seconds=0,
    )  # fmt: skip
    assert {t.name for t in timings} == {"model 1", "shape:bert-tiny"}
    assert all(t.median_ms for t in timings)
    assert len(timings) == 8


def test_variants_take_turns_and_warm_up_is_left_out() -> None:
    calls: list[str] = []
    variants = [Variant(name, "torch", lambda _, name=name: calls.append(name)) for name in "ab"]
    times = _alternate(variants, {}, repeats=4, seconds=0, tick=Ticker("Timing", 4))
    assert calls == ["a", "b"] * (len(calls) // 2)
    assert [len(passes) for passes in times] == [4, 4]
    assert len(calls) > 8


def test_speedups_are_relative_to_the_first_that_ran() -> None:
    def timing(name: str, batch: int, median: float | None) -> Timing:
        return Timing(name, "torch", batch, 8, median, median, 1, 1)

    given = [timing("a", 1, None), timing("b", 1, 4.0), timing("c", 1, 2.0), timing("b", 2, 9.0)]
    assert speedups(given) == [None, 1.0, 2.0, 1.0]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"backends": ["tpu"]}, "Unknown backend 'tpu'"),
        ({"length": [41]}, "at most 40 tokens, not 41"),
        ({"batch": []}, "at least 1"),
        ({"threads": 0}, "at least 1"),
    ],
)
def test_mistakes_are_named(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(TrimformerError, match=words):
        benchmark([tiny("full")], **({"length": [8]} | arguments))


def test_training_mode_is_refused() -> None:
    with pytest.raises(TrimformerError, match=r"model\.eval\(\)"):
        benchmark([tiny("full").train()], length=[8])
