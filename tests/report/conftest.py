"""A made-up report; its figures mean nothing."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest

from trimformer.encoder.shape.kinds import ATTENTION
from trimformer.report.schema import (
    Comparison,
    Curve,
    CurvePoint,
    ExportInfo,
    Latency,
    LayerInfo,
    ModelInfo,
    Report,
    Step,
    TaskInfo,
)

KEPT = {0, 2, 3}


def _variant(name: str, layers: int = 6) -> ModelInfo:
    trimmed = name == "trimmed"
    shapes = ["full" if index in KEPT or not trimmed else "mean" for index in range(layers)]
    times = [
        Latency(
            backend=backend,
            batch=batch,
            length=length,
            median=base * batch**0.8 * length / 64 * (0.64 if trimmed else 1),
            p95=base * batch**0.8 * length / 64 * (0.72 if trimmed else 1.2),
            runs=50,
            threads=2,
            score=None if backend == "sdpa" else (0.868 if trimmed else 0.874) - (backend == "onnx-int8") / 100,
        )
        for batch in (1, 8)
        for length in (32, 128)
        for backend, base in (("sdpa", 9.1), ("torch", 8.7), ("onnx", 6.2), ("onnx-int8", 3.4))
        if not (trimmed and backend == "sdpa")
    ]
    return ModelInfo(
        name=name,  # type: ignore[arg-type]
        score=0.868 if trimmed else 0.874,
        metric="accuracy",
        scores={"accuracy": 0.868, "f1": 0.871} if trimmed else {"accuracy": 0.874, "f1": 0.876},
        n_examples=872,
        params=21_827_714 if trimmed else 22_713_986,
        bytes=87_310_856 if trimmed else 90_855_944,
        flops_per_example=2.03e9 if trimmed else 2.87e9,
        flops_length=128,
        latency_ms=times,
        layers=[
            LayerInfo(
                index=index,
                attention=shape,
                about=ATTENTION[shape].about,
                attends=shape == "full",
                heads=12 if shape == "full" else 0,
                ffn=1536,
                params=1_774_464 if shape == "full" else 1_478_784,
                flops=4.8e8 if shape == "full" else 3.0e8,
            )
            for index, shape in enumerate(shapes)
        ],
    )


def curve(name: str, values: dict[int, Any]) -> Curve:
    points = [CurvePoint(step=step, value=value) for step, value in values.items()]
    return Curve(stage="attendout", name=name, points=points)


@pytest.fixture
def report() -> Report:
    return example()


def example() -> Report:
    rng = random.Random(0)

    def keep(index: int, step: int) -> float:
        sign = 1 if index in KEPT else -1
        return 1 / (1 + math.exp(-sign * step / (60 + 15 * index) - 0.4 * rng.random()))

    return Report(
        trimformer_version="0.1.0",
        created="2026-01-02T03:04:05+00:00",
        model="someone/bert-small-sst2",
        task=TaskInfo(
            name="sst2",
            kind="classification",
            labels=["negative", "positive"],
            source="GLUE, SST-2",
            n_train=60_000,
            n_selection=1000,
            n_validation=872,
            metric="accuracy",
        ),
        method="attendout layerwise, keep 3",
        hardware={"cpu": "Example CPU", "cores": "4", "memory": "16.0 GiB", "isa": "avx2 avx512f avx512_vnni"},
        variants=[_variant("dense"), _variant("trimmed")],
        comparison=Comparison(
            metric="accuracy",
            difference=-0.006,
            low=-0.019,
            high=0.006,
            p_value=0.35,
            n_examples=872,
            resamples=2000,
        ),
        steps=[
            Step(name="load", seconds=1.2),
            Step(name="dense", seconds=312.0, note="3 epochs"),
            Step(name="attendout", seconds=4210.0),
            Step(name="measure", seconds=48.0),
        ],
        training_cost={"attendout: plain": 0.21, "attendout: A": 0.19, "attendout: G": 0.034},
        curves=[
            curve("keep_probability", {step: [keep(index, step) for index in range(6)] for step in range(0, 300, 5)}),
            curve("reward", {step: -0.4 + step / 1500 + 0.1 * rng.random() for step in range(0, 300, 2)}),
        ],
        export=[
            ExportInfo(file="onnx/model.onnx", bytes=87_500_000, precision="fp32", max_abs_error=3.1e-6),
            ExportInfo(
                file="onnx/model_int8.onnx",
                bytes=22_900_000,
                precision="int8",
                max_abs_error=0.11,
                label_agreement=0.992,
            ),
        ],
        recipe={"version": 1, "model": "someone/bert-small-sst2", "stages": [{"name": "attendout", "keep_layers": 3}]},
        notes=["attendout: kept layers 0, 2 and 3.", "3 of 872 validation texts were cut at 128 tokens."],
    )
