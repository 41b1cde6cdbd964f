"""The table of the device: what it predicts from known pieces, how it is kept, and what it refuses."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.models import tiny
from tests.tables import FIRST, PIECES, table
from trimformer.encoder import LayerShape
from trimformer.encoder.gating.trim import trim
from trimformer.errors import TrimformerError
from trimformer.measure.device import table as module
from trimformer.measure.device.lengths import find
from trimformer.measure.device.table import frame_of, read_tables, write_tables


def layer(kind: Any = "full", heads: int = 2, ffn: int = 24) -> LayerShape:
    return LayerShape(kind, heads, 8, ffn, kernel=5 if kind == "conv" else 0)


@pytest.mark.parametrize(
    ("shape", "milliseconds"),
    [
        (layer(), 6 + 7),
        (layer(heads=1, ffn=8), 4 + 2),
        (layer("mean", ffn=16), 0.5 + 3),
        (layer("none"), 7),
        (layer("none", ffn=20), 5),
        (layer("conv", ffn=12), 1.5 + 2.5),
        (layer("none", ffn=4), 1.5),  # below what was measured the line goes on
        (dataclasses.replace(layer("conv"), kernel=9), 2.5 + 7),
    ],
)
def test_measured_sizes_are_exact_and_those_between_lie_on_a_line(shape: LayerShape, milliseconds: float) -> None:
    assert table(first=False).predict([shape]) == pytest.approx(1 + milliseconds)


def test_layers_add_up() -> None:
    given, shapes = table(first=False), [layer(), layer("mean"), layer("none", ffn=9), layer(heads=1)]
    alone = [given.predict([shape]) - given.predict([]) for shape in shapes]
    assert given.predict([]) == 1
    assert given.predict(shapes) == pytest.approx(1 + sum(alone))


def test_after_the_last_layer_that_mixes_only_the_first_token_is_computed() -> None:
    given = table()
    assert given.predict([layer()]) == pytest.approx(1 + 1.5 + 0.3)
    assert given.predict([layer(), layer("mean", ffn=8), layer("none")]) == pytest.approx(1 + 13 + 0.25 + 0.1 + 0.3)
    assert given.predict([layer("none"), layer("none", ffn=8)]) == pytest.approx(1 + 0.3 + 0.1)


@pytest.mark.parametrize("first", [True, False])
def test_the_parts_of_the_layers_add_up_to_the_prediction(first: bool) -> None:
    given, shapes = table(first), [layer(ffn=8), layer("none"), layer("mean"), layer("none", ffn=16)]
    parts = given.by_layer(shapes)
    assert parts[0] == pytest.approx((6, 2))
    assert parts[2] == pytest.approx((0.25, 0.3) if first else (0.5, 7))
    assert 1 + sum(map(sum, parts)) == pytest.approx(given.predict(shapes))


def test_a_larger_size_is_never_cheaper() -> None:
    given = table(first=False, pieces=PIECES | {"ffn": {8: 2.0, 16: 5.0, 24: 3.0}})
    assert given.predict([layer("none", ffn=24)]) == given.predict([layer("none", ffn=16)]) == pytest.approx(5)
    falling = table(first=False, pieces=PIECES | {"ffn": {8: 1.0, 16: 5.0}})
    assert falling.predict([layer("none", ffn=1)]) == 1  # never below 0


@pytest.mark.parametrize("removed", ["mean", "none", "conv"])
@pytest.mark.parametrize("first", [True, False])
def test_the_soft_form_is_the_hard_one_at_hard_values(first: bool, removed: Any) -> None:
    """For every set of layers; of shapes that are not soft themselves too."""
    given, dense = table(first), tiny(3)
    shapes = [layer("mean"), layer(), layer()]
    for bits in range(8):
        keep = torch.tensor([float(bits >> index & 1) for index in range(3)])
        kinds = {index: removed for index in range(3) if not keep[index]}
        if kinds:
            trimmed = trim(dense, attention=kinds).config
            assert float(given.expected(dense.config, attention=keep, removed=removed)) == pytest.approx(
                given.predict(trimmed)
            )
    sizes = {"heads": torch.tensor([2.0, 1.0, 2.0]), "ffn": torch.tensor([8.0, 24.0, 13.0])}
    changed = [layer("mean", ffn=8), layer(heads=1), layer(ffn=13)]
    assert float(given.expected(shapes, **sizes)) == pytest.approx(given.predict(changed))


def test_the_soft_form_is_the_mean_over_hard_ones() -> None:
    """With a stand-in that does not mix, which layer is the last depends on all gates."""
    given, dense = table(), tiny(3)
    keep = torch.tensor([0.2, 0.7, 0.4])
    mean = 0.0
    for bits in range(8):
        hard = torch.tensor([float(bits >> index & 1) for index in range(3)])
        chance = (hard * keep + (1 - hard) * (1 - keep)).prod()
        mean += float(chance * given.expected(dense.config, attention=hard, removed="none"))
    assert float(given.expected(dense.config, attention=keep, removed="none")) == pytest.approx(mean)


@pytest.mark.parametrize("first", [True, False])
def test_every_soft_size_costs_time(first: bool) -> None:
    given, dense = table(first), tiny(3).config
    soft = {
        "attention": torch.tensor([0.5, 0.6, 0.7], requires_grad=True),
        "heads": torch.tensor([1.3, 1.5, 2.0], requires_grad=True),
        "ffn": torch.tensor([9.0, 23.0, 24.0], requires_grad=True),
    }
    given.expected(dense, **soft).backward()
    for name, values in soft.items():
        assert values.grad is not None
        assert (values.grad > 0).all(), name
    if not first:
        assert soft["ffn"].grad is not None
        torch.testing.assert_close(soft["ffn"].grad, torch.tensor([0.125, 0.5, 0.5]))


def test_narrower_queries_and_keys_save_in_proportion_to_the_heads() -> None:
    given = table(first=False, pieces=PIECES | {"full/8 qk": {2: 4.0, 4: 5.0, 8: 6.2}})
    shape = LayerShape("full", 1, 8, 8, query_key=4)
    assert given.predict([shape]) == pytest.approx(1 + 2 + 4 - 0.6)
    assert given.predict([LayerShape("full", 1, 8, 8)]) == pytest.approx(1 + 2 + 4)


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        (layer(heads=3), "The table knows 'full/8' up to a size of 2, not 3: measure one with a model that"),
        (layer(ffn=25), "The table knows 'ffn' up to a size of 24, not 25"),
        (LayerShape("full", 2, 4, 8), "The table has no 'full/4', only rest, ffn, full/8, conv, mean: measure one"),
    ],
)
def test_what_was_not_measured_is_named(shape: LayerShape, said: str) -> None:
    with pytest.raises(TrimformerError, match=said):
        table().predict([shape])


def test_another_width_is_refused() -> None:
    with pytest.raises(TrimformerError, match="measured for hidden_act = gelu, but this model has hidden_act = relu"):
        table().predict(tiny(2, hidden_act="relu").config)


def test_stored_is_loaded(tmp_path: Path) -> None:
    tables = [table(), table(first=False, batch=8, frame=frame_of(tiny(1, family="deberta-v2").config))]
    write_tables(tmp_path / "new" / "table.json", tables)
    assert read_tables(tmp_path / "new" / "table.json") == tables
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["table.json"]


WAY = ("torch", 1, 8, 1)


@pytest.mark.parametrize("other", [("onnx", 1, 8, 1), ("torch", 2, 8, 1), ("torch", 1, 9, 1), ("torch", 1, 8, 2)])
def test_a_table_is_for_one_way_to_run(other: tuple[str, int, int, int]) -> None:
    assert find([table()], tiny(2), WAY) == table()
    assert find([table()], tiny(2), other) is None
    for model in (tiny(2).encoder, tiny(2, hidden_size=32)):  # another head, another width
        assert find([table()], model, WAY) is None


def test_of_two_tables_the_one_that_is_large_enough() -> None:
    small = table(pieces=PIECES | FIRST | {"ffn": {8: 2.0, 16: 3.0}})
    assert find([small, table()], tiny(2), WAY) == table()


def write(file: Path, **changes: Any) -> None:
    write_tables(file, [table()])
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"format_version": 2}, "has format 2, this trimformer reads format 1: measure into another file."),
        ({"format_version": 0}, "has format 0"),
        ({"tables": [{"backend": "torch"}]}, "is not a latency table or is incomplete"),
        ({"tables": 1}, "is not a latency table"),
        ({"machine": {"cpu": "another"}}, r"was measured elsewhere \(cpu another, here .+\): measure into"),
    ],
)
def test_a_file_that_cannot_serve_is_refused(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    write(tmp_path / "table.json", **changes)
    with pytest.raises(TrimformerError, match=said):
        read_tables(tmp_path / "table.json")


def test_a_missing_a_foreign_and_a_truncated_file_are_named(tmp_path: Path) -> None:
    file = tmp_path / "table.json"
    with pytest.raises(TrimformerError, match=r"There is no table .+: measure one with"):
        read_tables(file)
    write_tables(file, [table()])
    for content in (file.read_bytes()[:500], b"\x89PNG", b"[]", b"{}", b"null", b""):
        file.write_bytes(content)
        with pytest.raises(TrimformerError, match="is not a latency table"):
            read_tables(file)


def test_other_versions_have_a_file_of_their_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TRIMFORMER_CACHE", str(tmp_path))
    before = module.default_file()
    assert before.parent == tmp_path
    assert module.default_file() == before
    monkeypatch.setattr(module, "hardware", lambda: {"cpu": "another", "memory": "1 GiB"})
    assert module.default_file() != before
