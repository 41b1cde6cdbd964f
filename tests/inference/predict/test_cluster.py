"""The same lines from a Ray cluster of two nodes, which is started here, as from this process."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.command import sentence, trimformer
from tests.tinymodel import write_stock_bert
from trimformer.inference.predict import rows


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_stock_bert(tmp_path_factory.mktemp("models") / "reviews", ["pos", "neg"])


def write_table(path: Path, count: int) -> Path:
    quoted = (f'{i},"{"good " * (i * 7 % 11)}\n{"bad " * (i % 5)}"\n' for i in range(count))
    path.write_text("id,text\n" + "".join(quoted))
    return path


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="the extra `cluster` is not installed")
def test_two_nodes_write_the_same_bytes(
    model: Path, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray.data

    monkeypatch.setattr(rows, "PIECE_LINES", 20)
    # So few rows would be done by the first actor before the other one is up.
    monkeypatch.setattr(ray.data.DataContext.get_current(), "wait_for_min_actors_s", 120)
    table, out = write_table(tmp_path / "a.csv", 500), tmp_path / "out.jsonl"
    whole = trimformer("predict", model, table, "--json").out
    done = trimformer("predict", model, table, "--json", "--ray", address, "--out", out)
    assert (done.code, done.out) == (0, ""), done.err
    assert out.read_text() == whole
    assert "Labelled on 2 nodes of the cluster." in done.err

    with table.open("a") as file:
        file.write("500,good,bad\n")
    broken = trimformer("predict", model, table, "--ray", address)
    assert broken.code == 2
    assert f"Line 1002 of {table} has 3 columns where 2 are expected" in broken.err


def test_no_cluster(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = write_table(tmp_path / "a.csv", 3)

    def refuse(**options: object) -> None:
        raise ConnectionError

    fake = SimpleNamespace(init=refuse, data=SimpleNamespace())
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: fake)
    monkeypatch.setitem(sys.modules, "ray", fake)  # type: ignore[arg-type]
    monkeypatch.setitem(sys.modules, "ray.data", fake.data)
    assert "There is no Ray cluster at 'auto'" in sentence(trimformer("predict", model, table, "--ray", "auto"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    missing = sentence(trimformer("predict", model, table, "--ray", "auto"))
    assert missing == 'A Ray cluster needs the package ray: pip install "trimformer[cluster]".'
    assert "name a file, or leave --ray out" in sentence(trimformer("predict", model, "--ray", "auto"))
