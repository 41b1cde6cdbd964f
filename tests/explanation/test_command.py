"""`explain` on a user's files, with real exports and made-up times; and the mistakes one can make."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import trimformer as package
from tests.command import sentence, trimformer
from tests.measure.test_table import FIRST, PIECES
from tests.tinymodel import write_csv, write_scores, write_stock_bert
from trimformer.encoder.checkpoints.load import load_tokenizer, load_with_head
from trimformer.encoder.shape.gates import Gates
from trimformer.measure.device.table import LatencyTable, frame_of
from trimformer.recipe.reading import load_recipe
from trimformer.tasks.encode import encode
from trimformer.tasks.settings import TaskSettings
from trimformer.tasks.task import load_task
from trimformer.training.evaluate import mean_loss

COLUMNS = ["--text", "review", "--label", "stars"]
DATA = ["--data", "train.csv", *COLUMNS]


def known_tables(net: Any, *, batch: Any, length: Any, threads: int, backends: Any) -> list[LatencyTable]:
    if length[0] > net.config.max_tokens:
        raise package.TrimformerError(f"The model takes at most {net.config.max_tokens} tokens, not {length[0]}.")
    head, frame = type(net).__name__, frame_of(net.config)
    return [LatencyTable(backends[0], batch[0], length[0], threads, head, frame, PIECES | FIRST)]


@pytest.fixture(scope="module", autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A tiny classifier and texts; it is the current folder."""
    folder = tmp_path_factory.mktemp("home")
    write_stock_bert(folder / "model", ["neg", "pos"], layers=3)
    write_stock_bert(folder / "bare")
    write_csv(folder / "train.csv", rows=80)
    write_csv(folder / "dev.csv", rows=30)
    write_csv(folder / "other.csv", names=("yes", "no"))
    write_scores(folder / "scores.jsonl")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        patch.setattr("trimformer.search.measurement.available_backends", lambda: ["torch", "onnx", "onnx-int8"])
        patch.setattr("trimformer.explanation.explain.latency_tables", known_tables)
        yield folder


@pytest.fixture(scope="module")
def found(home: Path) -> dict[str, Any]:
    outputs = ["--json", "out.json", "--plot", "page.html", "--recipe", "fast.yaml"]
    Path("out.json").symlink_to("linked.json")
    for name in outputs[1::2]:
        Path(name).write_text("old")
    result = trimformer("explain", "model", *DATA, "--length", 8, *outputs, "--force")
    assert result.code == 0, result.err
    assert "attention ms" in result.out
    assert result.out.endswith("Run the recipe: trimformer run fast.yaml\n")
    values: dict[str, Any] = json.loads(Path("out.json").read_text(encoding="utf-8"))
    return values


def test_losses_are_those_of_trimmed_models_on_the_selection_rows(found: dict[str, Any]) -> None:
    net = load_with_head("model")
    data = load_task(TaskSettings(data="train.csv", text="review", label="stars"))
    rows = encode(data.task, data.selection, load_tokenizer("model"), 40)
    assert (found["split"], found["rows"], found["drawn"]) == ("selection", len(rows), len(rows))
    assert found["loss"] == pytest.approx(mean_loss(net, rows), rel=1e-4)
    for index, layer in enumerate(found["layers"]):
        trimmed = package.trim(net, attention={index: "mean"})
        assert layer["loss"] == pytest.approx(mean_loss(trimmed, rows), rel=1e-4)
        dropped = package.trim(net, Gates(layers=(torch.arange(3) != index).float()))
        assert layer["loss_without"] == pytest.approx(mean_loss(dropped, rows), rel=1e-4)
        assert (len(layer["heads"]), len(layer["units"])) == (2, 24)
    assert len({layer["loss"] for layer in found["layers"]}) == 3


def test_times_are_those_of_the_table_and_every_file_is_scored(found: dict[str, Any]) -> None:
    times = [(layer["attention_ms"], layer["ffn_ms"]) for layer in found["layers"]]
    assert times == [pytest.approx(pair) for pair in ((6, 7), (6, 7), (1.5, 0.3))]
    saved = [(layer["half_heads_ms"], layer["half_units_ms"]) for layer in found["layers"]]
    assert saved == [pytest.approx(pair) for pair in ((2, 4.5), (2, 4.5), (0.5, 0.15))]
    assert found["rest_ms"] == 1
    assert [file["backend"] for file in found["files"]] == ["torch", "onnx", "onnx-int8"]
    exact, onnx, _ = found["files"]
    assert (exact["score"], exact["difference"]) == (onnx["score"], 0)
    assert max(file["speedup"] for file in found["files"] if file["precision"] == "fp32") == 1


def test_how_many_layers_texts_need_is_found_and_shown(found: dict[str, Any]) -> None:
    depth = found["depth"]
    assert (sum(depth["executed"]), len(depth["executed"])) == (found["rows"], 3)
    assert depth["fitted"] == (80 - 12 - found["rows"]) / 2  # the training rows; the others choose when exits are sure
    assert 0 <= depth["same"] <= 1
    (said,) = [line for line in found["conclusion"] if "exit behind each layer" in line]
    page = Path("page.html").read_text(encoding="utf-8")
    assert said.partition(" texts need")[0] in page
    assert "Layers that texts need" in page


def test_the_recipe_is_one(found: dict[str, Any]) -> None:
    recipe = load_recipe("fast.yaml")
    assert recipe.model_dump(mode="json") == found["recipe"]
    assert recipe.autopilot is not None
    assert (recipe.autopilot.max_drop, recipe.measure.batch, recipe.measure.length) == (0.5, [1], [8])
    assert (recipe.model, recipe.task.data, recipe.task.label) == ("model", "train.csv", "stars")


def test_the_page_shows_what_was_found(found: dict[str, Any]) -> None:
    page = Path("page.html").read_text(encoding="utf-8")
    losses, times, heads, units = (
        json.loads(text) for text in re.findall(r'<script type="application/json">(.*?)</script>', page)
    )
    for bars, name in zip(losses["data"], ("loss", "loss_without"), strict=True):
        assert bars["x"] == pytest.approx([layer[name] - found["loss"] for layer in found["layers"]], rel=1e-3)
    assert [bars["x"] for bars in times["data"]] == [[6, 6, 1.5], [7, 7, 0.3]]
    assert heads["data"][0]["z"] == [pytest.approx(layer["heads"], rel=1e-2) for layer in found["layers"]]
    assert [sum(own) for own in zip(*(bars["x"] for bars in units["data"]), strict=True)] == pytest.approx(
        [100] * 3, 1e-2
    )
    assert not re.search(r'(src|href)="', page)


def test_validation_rows_alone_give_no_recipe() -> None:
    task = {"validation": "dev.csv", "text": "review", "label": "stars"}
    found = package.explain("model", task, length=8)
    assert (found.split, found.rows, found.recipe) == ("validation", 30, None)
    assert found.conclusion[-1].startswith("No recipe can be suggested without training rows")
    assert found.notes[0].startswith("Only validation rows were given")
    assert found.notes[1].startswith("WARNING: On these rows the checkpoint's head decides about as by chance")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["bare", *DATA], "bare has no task head to score: fine-tune it first (trimformer compress)."),
        (["model"], "No data is given: name your file or folder with --data"),
        (["model", "--data", "no.csv", *COLUMNS], "no.csv"),
        (["model", "--data", "other.csv", *COLUMNS], "The labels of the data (no, yes) are not those of the model"),
        (["model", "--data", "scores.jsonl"], "are numbers, but the model has 2 classes"),
        (["model", *DATA, "--length", 64], "takes at most 40 tokens, not 64."),
        (["model", *DATA, "--plot", "page.png"], "name a file that ends in .html."),
        (
            ["model", "--validation", "dev.csv", *COLUMNS, "--recipe", "r.yaml"],
            "No recipe can be suggested without training rows: name them with --train or --data.",
        ),
    ],
)
def test_mistakes(home: Path, arguments: list[Any], said: str) -> None:
    before = sorted(Path().rglob("*"))
    assert said in sentence(trimformer("explain", *arguments))
    assert sorted(Path().rglob("*")) == before


def test_files_that_exist_are_replaced_only_by_force(found: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trimformer.explanation.explain.explain", None)  # the refusal comes before any work
    assert Path("out.json").is_symlink()  # the file that it leads to was replaced
    before = {name: Path(name).read_bytes() for name in ("page.html", "fast.yaml", "out.json", "train.csv")}
    for option, name in (("--plot", "page.html"), ("--recipe", "fast.yaml"), ("--json", "out.json")):
        refused = sentence(trimformer("explain", "model", *DATA, option, name))
        assert refused.endswith(" exists: name another file, or replace it with --force.")
    assert "is an input" in sentence(trimformer("explain", "model", *DATA, "--json", "train.csv", "--force"))
    twice = ["--recipe", "new.yaml", "--json", "new.yaml"]
    assert "two outputs" in sentence(trimformer("explain", "model", *DATA, *twice))
    assert {name: Path(name).read_bytes() for name in before} == before
