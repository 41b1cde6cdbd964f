"""A small search whose times are counted instead of measured, so that it always goes the same way."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.tinymodel import write_csv, write_stock_bert
from trimformer.encoder.checkpoints.load import load_with_head
from trimformer.measure.bench.latency import Timing
from trimformer.measure.bench.variants import Variant, open_variant
from trimformer.measure.cost import cost
from trimformer.recipe.settings import Recipe
from trimformer.recipe.standard import autopilot_recipe
from trimformer.search.candidates import _look
from trimformer.search.run import run
from trimformer.search.schedule.halving import Point
from trimformer.tasks.settings import TaskSettings
from trimformer.training.settings import TrainingSettings

FACTORS = {"eager": 2.0, "torch": 1.5, "onnx": 1.0, "onnx-int8": 0.8}


def milliseconds(config: Any) -> float:
    return cost(config, 8).flops / 1e6


class Counted:
    """In place of measured times those that operations would take."""

    def predict(self, layers: Any) -> float:
        return milliseconds(layers)

    def fits(self, config: Any) -> bool:
        return True


def counted_tables(*_: Any, **__: Any) -> list[Counted]:
    return [Counted()]


def fake_variants(models: Any, backends: Any, folder: Path, threads: int, calibration: Any) -> list[Variant]:
    """PyTorch under the names of the other back-ends, and a file for each."""
    found = []
    for name, model in models.items():
        folder.mkdir(exist_ok=True, parents=True)
        for backend in backends:
            file = folder / f"{name}-{backend}.onnx"
            file.write_text(name)
            config = load_with_head(model).config
            run, executed = open_variant(model, "torch", 1, {})
            found.append(Variant(name, backend, run, path=file, config=config, executed=executed))
    return found


def fake_timed(variants: Any, workload: Any, threads: int) -> list[Any]:
    pairs = []
    for variant in variants:
        ms, counts = FACTORS[variant.backend] * milliseconds(variant.config), None
        if variant.executed is not None:
            for batch in workload.batches:
                variant.run(batch)
            counts = variant.executed.take()
            ms *= np.average(np.arange(len(counts)) + 1, weights=counts) / len(counts)
        timing = Timing(
            variant.name, variant.backend, 1, 8, ms, ms, 1, threads, sequences_per_s=1e3 / ms, executed=counts
        )
        pairs.append((variant, timing))
    return pairs


def lossy(*given: Any) -> Point:
    """Whatever is looked at loses more than the budget, and not so much that training could not win it back."""
    return dataclasses.replace(_look(*given), drop=20.0)


@pytest.fixture(scope="module")
def counted() -> Iterator[None]:
    """Nothing is exported and nothing timed, and candidates have to be trained."""
    fakes = {
        "predictor.latency_tables": counted_tables,
        "candidates._look": lossy,
        "goals.fastest.variants_of": fake_variants,
        "goals.smallest.variants_of": fake_variants,
        "measurement.timed": fake_timed,
        "goals.fastest.installed": lambda: ["onnx", "onnx-int8"],
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, fake in fakes.items():
            patch.setattr(f"trimformer.search.{name}", fake)
        yield


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A tiny encoder, and texts to train and to validate on; it is the current folder."""
    folder = tmp_path_factory.mktemp("home")
    write_stock_bert(folder / "bert", layers=3)
    write_csv(folder / "train.csv", rows=80)
    write_csv(folder / "dev.csv", rows=30)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield folder


def recipe(out: str = "out", max_drop: float = 5.0, **changes: Any) -> Recipe:
    """A search in the folder of :func:`home`."""
    task = TaskSettings(train="train.csv", validation="dev.csv", text="review", label="stars")
    training = TrainingSettings(epochs=1, batch_size=16, learning_rate=1e-3)
    return autopilot_recipe("bert", task, out, budget={"max_drop": max_drop} | changes, training=training)


@pytest.fixture(scope="module")
def whole(home: Path, counted: None) -> Any:
    return run(recipe("whole"))


class Cut(Exception):
    """Stands for a power cut: nothing after it runs."""


def result(report: Any) -> dict[str, Any]:
    """All but what differs between two runs that go the same way."""
    return report.model_dump(exclude={"created", "steps", "hardware", "recipe", "conclusion"})


def weights(out: Path) -> dict[str, bytes]:
    return {str(file.relative_to(out)): file.read_bytes() for file in sorted(out.rglob("*.safetensors"))}
