"""Which lengths are measured for a table of the device, and what lies between them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from tests.models import tiny
from tests.tables import PIECES, table
from trimformer.encoder import TrimformerConfig
from trimformer.measure.bench.latency import Timing
from trimformer.measure.bench.variants import Variant
from trimformer.measure.device import pieces
from trimformer.measure.device.lengths import between, find, rungs
from trimformer.measure.device.pieces import latency_tables
from trimformer.measure.device.table import LatencyTable, added, frame_of, read_tables

MOST = 40
"""Tokens that ``tiny`` takes."""


@pytest.mark.parametrize(
    ("length", "around"),
    [(1, [1]), (2, [2]), (3, [2, 4]), (8, [8]), (27, [16, 32]), (32, [32]), (33, [32, MOST]), (MOST, [MOST])],
)
def test_powers_of_two_and_the_most_are_measured(length: int, around: list[int]) -> None:
    assert rungs(length, MOST) == around


def longer(**others: Any) -> LatencyTable:
    doubled = {name: {size: 2 * time for size, time in times.items()} for name, times in table().pieces.items()}
    return table(**{"length": 16, "pieces": doubled} | others)


def test_between_two_lengths_times_lie_on_a_line() -> None:
    config, found = tiny(3).config, find([table(), longer()], tiny(3), ("torch", 1, 10, 1))
    assert found == between(table(), longer(), 10)
    assert found.length == 10
    assert found.predict(config) == pytest.approx(1.25 * table().predict(config))
    assert between(table(), longer(), 8).predict(config) == pytest.approx(table().predict(config))
    assert between(table(), longer(), 16).predict(config) == pytest.approx(longer().predict(config))


def test_what_was_measured_comes_before_what_lies_between() -> None:
    measured = table(length=10)
    assert find([table(), longer(), measured], tiny(2), ("torch", 1, 10, 1)) is measured


def test_two_with_other_pieces_have_nothing_between_them() -> None:
    way = ("torch", 1, 10, 1)
    assert find([table(), longer(pieces=PIECES)], tiny(2), way) is None
    assert find([table(), longer(pieces=PIECES), longer()], tiny(2), way) == between(table(), longer(), 10)


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """The sizes that are measured, of models that nobody runs: each model takes as long as it has layers and tokens."""
    sizes: list[tuple[int, int]] = []

    def timed(variants: Any, workloads: Any, **_: Any) -> Any:
        size = workloads[0].batch, workloads[0].length
        sizes.append(size)
        return [Timing(one.name, one.backend, *size, _ms(one.config, size[1]), None, 1, 1) for one in variants]

    def made(models: Any, backends: Any, *_: Any, **__: Any) -> list[Variant]:
        return [Variant(name, backends[0], None, config=model.config) for name, model in models.items()]

    monkeypatch.setattr(pieces, "make_variants", made)
    monkeypatch.setattr(pieces, "time_variants", timed)
    return sizes


def _ms(config: TrimformerConfig, length: int) -> float:
    return length * sum(1 + shape.ffn + shape.heads * (shape.attention == "full") for shape in config.shapes)


HOW: dict[str, Any] = {"batch": [1], "threads": 1, "backends": ["torch"]}


def test_another_task_on_this_machine_measures_nothing(tmp_path: Path, measured: list[tuple[int, int]]) -> None:
    """It has texts of another length, other labels, and another dropout."""
    (first,) = latency_tables(tiny(2), length=[10], file=tmp_path / "t.json", **HOW)
    assert measured == [(1, 8), (1, 16)]
    (second,) = latency_tables(
        tiny(4, labels=20, hidden_dropout_prob=0.3, problem_type="regression"),
        length=[13], file=tmp_path / "t.json", **HOW,
    )  # fmt: skip
    assert measured == [(1, 8), (1, 16)]
    assert second.predict(tiny(4).config) > first.predict(tiny(4).config)
    latency_tables(tiny(2), length=[20], file=tmp_path / "t.json", **HOW)
    assert measured == [(1, 8), (1, 16), (1, 32)]


def test_of_a_longer_text_only_the_length_that_is_missing_is_measured_and_older_files_serve(
    tmp_path: Path, measured: list[tuple[int, int]]
) -> None:
    """A file from before tables could be coarse, with a length that is measured no more."""
    (old,) = pieces.measure(tiny(2), {"torch": [(1, 10)]}, 1)
    file = tmp_path / "t.json"
    pieces.write_tables(file, [old])
    file.write_text(file.read_text().replace(',\n   "coarse": false', ""))
    assert "coarse" not in file.read_text()
    measured.clear()
    assert latency_tables(tiny(2), length=[10], file=file, **HOW) == [old]
    assert measured == []


def test_a_coarse_table_serves_until_there_is_a_full_one(tmp_path: Path, measured: list[tuple[int, int]]) -> None:
    file, model = tmp_path / "t.json", tiny(2)
    (coarse,) = latency_tables(model, length=[8], file=file, coarse=True, **HOW)
    assert coarse.coarse
    assert "coarse=True" in repr(coarse)
    assert latency_tables(model, length=[8], file=file, coarse=True, **HOW) == [coarse]
    assert measured == [(1, 8)]
    (full,) = latency_tables(model, length=[8], file=file, **HOW)
    assert not full.coarse
    assert measured == [(1, 8), (1, 8)]
    assert read_tables(file) == [full]
    assert latency_tables(model, length=[8], file=file, coarse=True, **HOW) == [full]
    assert measured == [(1, 8), (1, 8)]


def test_a_full_table_is_never_replaced_by_a_coarse_one() -> None:
    full, coarse = table(), table(coarse=True)
    assert added([full], coarse) == [full, coarse]
    assert added([coarse, table(coarse=True, length=16)], full) == [table(coarse=True, length=16), full]


def test_a_coarse_table_has_the_ends_of_each_curve_and_predicts_what_is_trimmed() -> None:
    config = tiny(2).config
    full, coarse = (set(pieces.plan(config, True, rough)) for rough in (False, True))
    assert coarse < full
    assert 3 * len(coarse) < 2 * len(full)
    assert {name for name, _ in coarse} >= {"rest", "ffn", "full/8", "mean", "first ffn", "first full/8", "first mean"}
    for name in ("ffn", "full/8"):
        own = [[size for key, size in keys if key == name] for keys in (full, coarse)]
        assert (min(own[0]), max(own[0])) == (min(own[1]), max(own[1]))


def test_labels_and_dropout_are_no_part_of_the_frame() -> None:
    frames = [
        frame_of(tiny(2, **others).config)
        for others in (
            {}, {"labels": 2}, {"labels": 20}, {"labels": 1, "problem_type": "regression"},
            {"hidden_dropout_prob": 0.4, "classifier_dropout": 0.2},
        )
    ]  # fmt: skip
    assert all(frame == frames[0] for frame in frames)


def test_models_of_the_same_layers_are_timed_once() -> None:
    models = pieces._models(tiny(2), coarse=False)
    assert models["full/8", 2] is models["full/8 qk", 8]
    assert len({id(net) for net in models.values()}) == len(models) - 1
    assert dataclasses.replace(table(), coarse=True).sizes == table().sizes
