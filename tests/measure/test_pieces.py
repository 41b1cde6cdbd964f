"""Measuring a table: which models are timed, what is made of their times, and the command from end to end."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.command import sentence, trimformer
from tests.models import tiny, with_layers
from tests.tinymodel import write_stock_bert
from trimformer.encoder import LayerShape, TrimformerConfig
from trimformer.encoder.model.heads import head_class
from trimformer.encoder.parts.layers.cnn import reads_of
from trimformer.encoder.shape.kinds import stand_ins
from trimformer.errors import TrimformerError
from trimformer.measure.device import pieces as module
from trimformer.measure.device.pieces import latency_tables, plan, solve
from trimformer.measure.device.table import LatencyTable, frame_of
from trimformer.measure.device.varied import check, varied


def costs(first: bool) -> Callable[[list[LayerShape], bool], float]:
    """A machine whose times are known: layers add up, and are a tenth where only the first token is computed."""

    def layer(shape: LayerShape) -> float:
        known = {"full": shape.heads * 2.0, "conv": 1 + shape.kernel / 10, "mean": 0.5, "none": 0.0}
        return 1 + shape.ffn / 4 + known.get(shape.attention, 0.75)  # another kind

    def model(shapes: list[LayerShape], under_head: bool) -> float:
        mixing = [index for index, shape in enumerate(shapes) if shape.attention != "none"]
        last = mixing[-1] if mixing else -1
        reads_first = first and under_head
        return 3 + sum(
            layer(shape) / (10 if reads_first and index >= last else 1) for index, shape in enumerate(shapes)
        )

    return model


@pytest.mark.parametrize("first", [True, False])
def test_the_pieces_are_found_again(first: bool) -> None:
    config, time = tiny(3).config, costs(first)
    times = {
        key: time(shapes, key == module.REST or key[0].startswith("first ") or not first)
        for key, shapes in plan(config, first).items()
    }
    pieces = solve(times)
    assert pieces["rest"][0] == pytest.approx(3)
    assert pieces["ffn"] == pytest.approx({1: 1.25, 6: 2.5, 12: 4, 24: 7})
    assert pieces["full/8"] == pytest.approx({1: 2, 2: 4})
    table = LatencyTable("torch", 1, 8, 1, "", frame_of(config), pieces)
    shapes = [*config.shapes, *(dataclasses.replace(config.shapes[0], attention=kind) for kind in ("mean", "none"))]
    assert table.predict(shapes) == pytest.approx(time(shapes, True))


def test_every_kind_is_timed_and_trimmed_models_set_sizes_too() -> None:
    shapes = [LayerShape("none", 4, 8, 8), LayerShape("full", 1, 4, 40), LayerShape("mean", 2, 8, 16)]
    config = TrimformerConfig(hidden_size=16, layers=[dataclasses.asdict(shape) for shape in shapes])
    keys = set(plan(config, reads_first=True))
    layers = {
        *(("ffn", units) for units in (2, 10, 20, 40)), *(("full/8", heads) for heads in (1, 2, 4)), ("full/4", 1),
        ("conv", 3), ("conv", 9), *((name, 0) for name in stand_ins() if name not in ("conv", "none")),
    }  # fmt: skip
    narrow = {*(("full/8 qk", size) for size in (2, 4, 8)), *(("full/4 qk", size) for size in (1, 2, 4))}
    narrow |= {(f"full/{head} inputs", size) for head in (4, 8) for size in (4, 8, 16)}
    ends = {(f"first {name}", size) for name, size in layers if (name, size) not in (("ffn", 10), ("ffn", 20))}
    assert keys == {module.BASE, module.REST, *layers, *ends, *narrow}


THIN = {"attention.query": {"kind": "low-rank", "rank": 2}, "ffn_out": {"kind": "low-rank", "rank": 4}}


def test_each_operation_of_a_cnn_is_a_piece() -> None:
    config = with_layers("cnn").config
    cost_of = {"conv3": 2.0, "conv5": 5.0, "dilated3": 3.0, "max-pool": 1.0, "avg-pool": 0.5}

    def time(shapes: list[LayerShape]) -> float:
        return 3 + sum(1 + sum(cost_of.get(read.operation, 0) for read in reads_of(shape)) for shape in shapes)

    pieces = solve({key: time(shapes) for key, shapes in plan(config, False).items()})
    table = LatencyTable("torch", 1, 8, 1, "", frame_of(config), pieces)
    assert table.predict(config) == pytest.approx(time(list(config.shapes)))


def test_a_bilstm_is_timed_whole() -> None:
    config = with_layers("bilstm").config
    planned = plan(config, False)
    assert {name for name, _ in planned} == {"base", "rest", "ffn"}
    pieces = solve({key: 3 + 7 * len(shapes) for key, shapes in planned.items()})
    table = LatencyTable("torch", 1, 8, 1, "", frame_of(config), pieces)
    assert table.predict(config) == pytest.approx(10)
    assert table.predict(config.with_shapes([*config.shapes] * 3)) == pytest.approx(24)


def test_what_is_timed_has_the_maps_of_the_model() -> None:
    """A layer without attention has those of its block, and a table of dense maps does not fit a thin model."""
    dense = tiny(2).config
    full = dataclasses.replace(dense.shapes[0], maps=THIN)
    mean = dataclasses.replace(full, attention="mean", maps={"ffn_out": THIN["ffn_out"]})
    thin = dense.with_shapes([full, mean])
    for (name, _), shapes in plan(thin, reads_first=True).items():
        for shape in shapes:
            attends = name.removeprefix("first ").startswith("full") and shape.attention == "full"
            assert shape.maps == (THIN if attends else {"ffn_out": THIN["ffn_out"]})
    table = LatencyTable("torch", 1, 8, 1, "", frame_of(dense), {"rest": {0: 1.0}})
    assert not table.fits(thin)
    with pytest.raises(TrimformerError, match="was measured for maps"):
        table.predict(thin)


def test_layers_with_different_maps_are_refused() -> None:
    dense = tiny(2).config
    mixed = dense.with_shapes([dense.shapes[0], dataclasses.replace(dense.shapes[1], maps=THIN)])
    with pytest.raises(TrimformerError, match="Layer 0 has other linear maps than the"):
        plan(mixed, reads_first=True)


@pytest.mark.parametrize("family", ["albert", "mpnet", "deberta-v2", "modernbert"])
def test_families_that_differ_can_be_measured(family: str) -> None:
    model = tiny(2, family=family)
    (table,) = latency_tables_of(model)
    for shapes in [model.config, *(other.config for other in varied(model, 3, seed=1).values())]:
        assert table.predict(shapes) > 0


def latency_tables_of(model: Any) -> list[LatencyTable]:
    return list(module.measure(model, {"torch": [(1, 8)]}, 1))


@pytest.mark.parametrize("kind", ["body", "tokens", "spans"])
def test_where_all_tokens_are_read_there_is_no_first(kind: Any) -> None:
    model = tiny(2).encoder if kind == "body" else head_class(kind)(tiny(2).config).eval()
    (table,) = latency_tables_of(model)
    assert table.head == type(model).__name__
    assert {name.split()[0] for name in table.pieces} == {"rest", "ffn", "full/8", *stand_ins()} - {"none"}


def test_what_is_there_is_not_measured_again(tmp_path: Path) -> None:
    file = tmp_path / "table.json"
    how: dict[str, Any] = {"length": [8], "threads": 1, "backends": ["torch"], "file": file}
    (table,) = latency_tables(tiny(2), batch=[1], **how)
    before = file.read_bytes()
    assert latency_tables(tiny(4), batch=[1], **how) == [table]
    assert file.read_bytes() == before
    both = latency_tables(tiny(2), batch=[1, 2], **how)
    assert both[0] == table
    assert both[1].batch == 2
    (other,) = latency_tables(tiny(2, hidden_size=8), batch=[1], **how)
    assert other.frame["hidden_size"] == 8
    assert len(json.loads(file.read_text())["tables"]) == 3


def test_what_another_process_adds_meanwhile_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "table.json"
    how: dict[str, Any] = {"length": [8], "threads": 1, "backends": ["torch"], "file": file}
    measured = module.measure

    def beside_another(*given: Any) -> Any:
        for table in measured(*given):
            monkeypatch.setattr(module, "measure", measured)
            latency_tables(tiny(2), batch=[2], **how)
            yield table

    monkeypatch.setattr(module, "measure", beside_another)
    assert [table.batch for table in latency_tables(tiny(2), batch=[1], **how)] == [1]
    assert {table["batch"] for table in json.loads(file.read_text())["tables"]} == {1, 2}


def test_random_shapes_are_smaller_and_the_same_for_a_seed() -> None:
    model = tiny(6)
    models = varied(model, 4, seed=0)
    assert [m.config.shapes for m in models.values()] == [m.config.shapes for m in varied(model, 4, seed=0).values()]
    shapes = [shape for one in models.values() for shape in one.config.shapes]
    assert {shape.attention for shape in shapes} == {"full", *stand_ins()}
    assert all(1 <= shape.heads <= 2 and 1 <= shape.ffn <= 24 for shape in shapes)
    assert next(iter(models)).startswith("1: ")


def test_a_check_tells_predicted_from_measured() -> None:
    model = tiny(2)
    tables = latency_tables_of(model)
    checks = check(model, tables, count=1)
    assert [one.model[:2] for one in checks] == ["as", "1:"]
    for one in checks:
        assert one.predicted_ms == pytest.approx((1 + one.error) * one.measured_ms)
        assert one.measured_ms > 0


SIZES = ["--batch", 1, "--length", 8, "--threads", 1]


@pytest.fixture
def bert(tmp_path: Path) -> Path:
    return write_stock_bert(tmp_path / "model", ["a", "b"])


def test_the_command(bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIMFORMER_CACHE", str(tmp_path / "cache"))
    result = trimformer("bench", f"mine={bert}", "--table", "auto", *SIZES, "--backends", "torch")
    assert result.code == 0, result.err
    assert "mine: median error" in result.out
    (file,) = (tmp_path / "cache").iterdir()
    assert file.name in result.out.replace("\n", "")
    again = trimformer("bench", f"mine={bert}", "--table", file, *SIZES, "--backends", "torch", "--json", "-")
    written = json.loads(again.out)
    assert len(written["checks"]["mine"]) == 7
    assert written["median_error"]["mine"] >= 0
    assert written["file"] == str(file)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--backends", "tpu"], "Unknown backend 'tpu': use some of"),
        (["--backends", "torch,eager"], "eager runs dense models only"),
        (["--backends", "torch", "--length", 41], "takes at most 40 tokens, not 41"),
        (["--backends", "torch", "--task", "sst2"], "--table measures shapes alone: leave out --task"),
        (["--backends", "torch", "--batch", 0], "at least 1"),
    ],
)
def test_mistakes(bert: Path, tmp_path: Path, options: list[Any], said: str) -> None:
    message = sentence(trimformer("bench", bert, "--table", tmp_path / "table.json", *SIZES, *options))
    assert said in message
    assert not (tmp_path / "table.json").exists()


def test_a_file_that_is_no_table_is_left_as_it_is(bert: Path, tmp_path: Path) -> None:
    file = tmp_path / "notes.json"
    file.write_text('{"format_version": 1')
    message = sentence(trimformer("bench", bert, "--table", file, *SIZES, "--backends", "torch"))
    assert message.startswith(f"{file} is not a latency table or is incomplete")
    assert file.read_text() == '{"format_version": 1'
