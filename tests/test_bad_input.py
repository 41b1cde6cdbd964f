"""Every mistake is one sentence and exit code 2, and nothing half-written stands in the way of the next try."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.command import sentence, trimformer
from tests.tinymodel import write_csv, write_stock_bert
from trimformer.encoder import TrimformerForSequenceClassification
from trimformer.errors import TrimformerError
from trimformer.recipe.settings import ExportSettings, MeasureSettings
from trimformer.recipe.standard import standard_recipe
from trimformer.report.schema import Report
from trimformer.tasks.settings import TaskSettings
from trimformer.training.settings import TrainingSettings

COLUMNS = ["--text", "review", "--label", "stars"]
ROWS = "".join(f"good film {i},pos\nbad film {i},neg\n" for i in range(10))


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_stock_bert(tmp_path_factory.mktemp("models") / "bare")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, with good data and no network."""
    write_csv(tmp_path / "reviews.csv")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    return tmp_path


def refused(*arguments: Any) -> str:
    """The sentence that a command ends with; it must leave nothing behind."""
    before = sorted(Path().rglob("*"))
    message = sentence(trimformer(*arguments))
    assert sorted(Path().rglob("*")) == before
    return message


def refused_compress(model: Path | str, *arguments: Any, data: str = "reviews.csv") -> str:
    return refused("compress", model, "--data", data, *COLUMNS, "--out", "out", *arguments)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("empty.csv", b"", "empty.csv has no rows"),
        ("header.csv", b"review,stars\n", "header.csv has no rows"),
        ("one.csv", b"review,stars\n" + b"good,pos\n" * 20, "Every row of one.csv has the same label (pos)"),
        ("latin.csv", b"review,stars\ngood,pos\ncaf\xe9,neg\n", "latin.csv is not UTF-8 at line 3"),
        ("ragged.tsv", b"review\tstars\ngood\tpos\nbad\n", "line 3 of ragged.tsv has 1 columns where 2 are expected"),
        ("broken.jsonl", b'{"review": "x", "stars": "pos"}\n{', "Line 2 of broken.jsonl is not valid JSON"),
        (
            "list.jsonl",
            b'{"review": "x", "stars": ["pos"]}\n{"review": "y", "stars": "neg"}\n' * 2,
            "In line 1 of list.jsonl, the label in",
        ),
        (
            "sets.jsonl",
            b'{"review": "x", "stars": ["pos"]}\n' * 9 + b'{"review": "y", "stars": 1}',
            "In line 10 of sets.jsonl,",
        ),
        ("none.jsonl", b'{"review": "x", "stars": []}\n' * 20, "No row of none.jsonl has a label"),
        ("columns.csv", b"reviews,stars\n" + ROWS.encode(), "no column 'review': name one of its own (reviews, stars)"),
        ("no.csv", None, "no.csv does not exist"),
        ("rev.pdf", b"%PDF", "rev.pdf has an unknown ending"),
    ],
)
def test_data(bert: Path, home: Path, name: str, content: bytes | None, said: str) -> None:
    if content is not None:
        Path(name).write_bytes(content)
    assert said in refused_compress(bert, data=name)


def test_a_misspelt_column_gets_the_nearest(bert: Path, home: Path) -> None:
    message = refused("compress", bert, "--data", "reviews.csv", "--text", "reveiw", "--label", "stars", "--out", "out")
    assert message == (
        "The file reviews.csv has no column 'reveiw': name one of its own (review, stars). Did you mean 'review'?"
    )


def test_a_label_that_train_does_not_know(bert: Path, home: Path) -> None:
    Path("train.csv").write_text("review,stars\n" + ROWS)
    Path("validation.csv").write_text("review,stars\ngood,pos\nso so,fair\n")
    message = refused_compress(bert, data=".")
    assert "In line 3 of validation.csv, the label 'fair' is not among the known labels (neg, pos)" in message


def test_no_data(bert: Path, home: Path) -> None:
    assert refused("compress", bert, "--out", "out") == (
        "No data is given: name your file or folder with --data, texts without labels with --texts, or a known task "
        "with --task."
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--method", "atendout"], "Unknown method 'atendout': did you mean 'attendout'?"),
        (["--method", "last-k"], "--keep-layers is missing: the method last-k needs it."),
        (
            ["--replace-by", "median"],
            "--replace-by: 'median' cannot stand in for attention, use one of ",
        ),
        (
            ["--method", "attendout-faithful", "--replace-by", "none"],
            "--replace-by: a row without positions is the mean, which 'none' is not.",
        ),
        (["--method", "depth", "--keep", 3], "keep=3 is out of range: this encoder has 2 layers, so keep 1 to 2."),
        (["--method", "depth"], "--keep is missing: the method depth needs it."),
        (
            ["--method", "importance"],
            "importance has nothing to remove: set heads or ffn below 1, or keep_layers, or a target.",
        ),
        (
            ["--method", "finetune", "--keep-layers", 1],
            "--keep-layers has no meaning for the method finetune: leave it out.",
        ),
        (
            ["--control", "revers"],
            "--control: input should be 'learned', 'untrained', 'random-finalists' or 'reversed' (got 'revers').",
        ),
        (["--set", "keep_layers"], "--set keep_layers: write NAME=VALUE"),
        (["--set", "keep_layers=-1"], "--set keep_layers: input should be greater than or equal to 0 (got -1)."),
        (["--max-drop", 1, "--set", "keep_layers=1"], "--set has no meaning with --max-drop"),
        (["--keep-layers", -1], "--keep-layers: input should be greater than or equal to 0 (got -1)."),
        (["--keep-layers", 3], "is out of range: this encoder has 2 layers with attention, so keep 0 to 2."),
        (
            ["--kind", "tagging"],
            "--kind: input should be 'auto', 'classification', 'multilabel', 'regression', 'ranking', 'tokens'",
        ),
        (["--kind", "regression"], "In line 2 of reviews.csv, the label 'pos' is not a finite number"),
        (["--epochs", 0], "--epochs: input should be greater than 0"),
        (["--task", "sst3"], "'sst3', which is not a task"),
    ],
)
def test_options(bert: Path, home: Path, arguments: list[Any], said: str) -> None:
    assert said in refused_compress(bert, *arguments)


def test_how_data_are_read_is_refused_where_none_are_named(bert: Path, home: Path) -> None:
    said = "says how data are read, and none are named: name them with --data or --task."
    assert refused("export", bert, "--metric", "f1_macro", "--out", "out") == f"--metric {said}"
    assert refused("bench", bert, "--group", "author") == f"--group {said}"
    assert refused("bench", bert, "--validation", "dev.csv").startswith(
        "--validation names rows to score on: add --task"
    )
    assert refused("export", bert, "--target", "size", "--max-drop", 1, "--out", "out").startswith("--max-drop is a")


def test_a_sentence_is_one_line_whatever_it_quotes() -> None:
    assert str(TrimformerError("The label a\nb\x1b[31m is unknown.")) == "The label a\\nb\\x1b[31m is unknown."


def test_backends(bert: Path, home: Path) -> None:
    assert refused("bench", bert, "--backends", "onx").startswith("Unknown backend 'onx': use some of eager")
    assert refused("export", bert, "--to", "tflite", "--out", "out").startswith("--to: 'tflite' is not known")
    assert refused("trim", bert, "--attention", "2=mean", "--out", "out") == (
        "There is no layer 2: layers are numbered 0 to 1."
    )


def cut(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:2000])


def lose_a_layer(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    kept = {name: weight for name, weight in weights.items() if ".layer.1." not in name}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})


def change_config(**changes: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | changes))

    return change


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda folder: (folder / "model.safetensors").unlink(), "There is no model.safetensors in broken"),
        (
            lambda folder: (folder / "model.safetensors").rename(folder / "model.int8.onnx"),
            "broken holds exported files alone (model.int8.onnx): predict and serve read them",
        ),
        (cut, "cannot be read, it is truncated or not a safetensors file"),
        (lose_a_layer, "do not fit the shape in its config.json"),
        (change_config(hidden_size=32), "do not fit the shape in its config.json"),
        (change_config(model_type="t5"), "The architecture 't5' is not supported; supported are albert, bert"),
        (lambda folder: (folder / "config.json").unlink(), "There is no config.json in broken"),
        (lambda folder: (folder / "config.json").write_text("{"), "config.json is not a readable JSON file"),
        (lambda folder: (folder / "tokenizer.json").unlink(), "There is no readable tokenizer in broken"),
    ],
)
def test_model_folders(home: Path, damage: Callable[[Path], None], said: str) -> None:
    damage(write_stock_bert(Path("broken")))
    assert said in refused_compress("broken")


def test_a_hub_id_without_network(home: Path) -> None:
    message = refused_compress("nobody/no-such-encoder")
    assert "'nobody/no-such-encoder' is neither a folder here nor a model that could be fetched" in message
    assert "./missing is not a model folder" in refused_compress("./missing")


def test_recipes(bert: Path, home: Path) -> None:
    recipe = write_recipe(bert, "out")
    recipe.write_text(recipe.read_text().replace("keep_layers", "keep_layer"))
    assert "did you mean 'keep_layers'?" in refused("run", recipe)
    assert ", line " in refused("run", recipe)
    assert "cannot be read" in refused("run", "no.yaml")
    recipe = write_recipe(bert, "out")
    recipe.write_text(recipe.read_text().replace("  length: null", "  length: [64]"))
    assert "takes at most 40 tokens, not 64." in refused("run", recipe)

    recipe = write_recipe(bert, "out")
    recipe.write_text(recipe.read_text().replace("layer_map: null", "layer_map: [0, 2]"))
    assert "names the layer 2 of the teacher, whose layers are numbered 0 to 1." in refused("run", recipe)


def test_the_output_folder(bert: Path, home: Path) -> None:
    Path("out").mkdir()
    Path("out/mine.txt").touch()
    assert refused_compress(bert) == "The output folder out exists and is not empty: choose another one."
    for command in (["trim", bert, "--attention", "0=mean"], ["export", bert]):
        assert "out exists and is not empty" in refused(*command, "--out", "out")
    arguments = ["--data", "reviews.csv", *COLUMNS, "--out", "reviews.csv/out"]
    assert "cannot be written (not a directory)" in refused("compress", bert, *arguments)
    assert "has no name of its own" in refused("compress", bert, *arguments[:-1], ".")


def test_debug_shows_the_traceback(bert: Path, home: Path) -> None:
    for arguments in (["--debug", "inspect", "./missing"], ["inspect", "./missing", "--debug"]):
        result = trimformer(*arguments)
        assert result.code == 2
        assert "Traceback" in result.err
        assert "is not a model folder" in result.err.splitlines()[-1]


def write_recipe(bert: Path, out: str, **training: Any) -> Path:
    """`last-k` with nothing around it, on reviews.csv."""
    recipe = standard_recipe(
        str(bert), TaskSettings(data="reviews.csv", text="review", label="stars"), out,
        method={"name": "last-k", "keep_layers": 1}, training=TrainingSettings(**({"epochs": 1} | training)),
    )  # fmt: skip
    quick = {
        "precision": "fp32",
        "export": ExportSettings(onnx=False),
        "measure": MeasureSettings(backends=["torch"], batch=[1]),
    }
    recipe.model_copy(update=quick).save(Path("recipe.yaml"))
    return Path("recipe.yaml")


def test_a_diverging_loss_names_the_step(bert: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The states saved before it stay."""
    calls = iter(range(100))
    backward = "trimformer.training.network.Network.backward"

    def spoiled(self: Any, loss: torch.Tensor, share: float = 1.0) -> None:
        self.accelerator.backward(loss * (float("nan") if next(calls) == 2 else share))

    monkeypatch.setattr(backward, spoiled)
    result = trimformer("run", write_recipe(bert, "out", epochs=3, checkpoint_seconds=0))
    assert result.code == 2
    assert "error: Training diverged at step 3 of dense" in result.err.splitlines()[-1]
    assert "Traceback" not in result.err
    assert not Path("out").exists()
    state = torch.load("out.partial/dense/state-0.pt", weights_only=True)
    assert state["step"] == 2
    assert all(weight.isfinite().all() for weight in state["networks"]["model"]["weights"].values())


def test_a_learning_rate_that_explodes(bert: Path, home: Path) -> None:
    result = trimformer("run", write_recipe(bert, "out", epochs=5, learning_rate=1e30))
    assert result.code == 2
    assert "step" in result.err.splitlines()[-1]
    assert "Traceback" not in result.err
    assert not Path("out").exists()


@pytest.mark.parametrize("place", ["weights", "state", "report"])
def test_a_full_disk_and_resuming_after_it(bert: Path, home: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    recipe = write_recipe(bert, "out", checkpoint_seconds=0)
    with monkeypatch.context() as patch:
        if place == "weights":
            patch.setattr(TrimformerForSequenceClassification, "save_pretrained", full)
        elif place == "state":
            patch.setattr(torch, "save", full)
        else:
            patch.setattr("trimformer.pipeline.results.model_card", full)
        result = trimformer("run", recipe)
    assert result.code == 2
    assert "error: The disk is full while writing out.partial" in result.err.splitlines()[-1]
    assert not Path("out").exists()
    assert not list(Path("out.partial").rglob(".*.tmp"))
    if place == "report":  # all training is done and kept
        monkeypatch.setattr("trimformer.pipeline.stages.train", None)
    resumed = trimformer("run", recipe, "--resume", "--json")
    assert resumed.code == 0, resumed.err
    assert Report.model_validate_json(resumed.out).removed_layers() == [1]
    assert not Path("out.partial").exists()


@pytest.mark.slow
def test_ctrl_c_and_resume(bert: Path, home: Path) -> None:
    recipe = write_recipe(bert, "out", epochs=30, patience=99, checkpoint_seconds=0)
    command = [sys.executable, "-m", "trimformer", "run", str(recipe)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    state = Path("out.partial/dense/state-0.pt")
    deadline = time.monotonic() + 120
    while not state.is_file() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert (process.returncode, out) == (130, ""), err
    assert "Go on with: trimformer run out.partial/recipe.yaml --resume" in err
    assert "Traceback" not in err
    assert not Path("out").exists()

    assert "An unfinished run is in out.partial: go on with" in refused("run", recipe)
    changed = recipe.read_text().replace("seed: 0", "seed: 1")
    Path("changed.yaml").write_text(changed)
    assert "since its start: seed in the recipe (at first 0); restore" in refused("run", "changed.yaml", "--resume")

    resumed = trimformer("run", "out.partial/recipe.yaml", "--resume", "--json")
    assert resumed.code == 0, resumed.err
    steps = [
        json.loads(line).get("step") for line in Path("out/metrics.jsonl").read_text().splitlines() if "loss" in line
    ]
    assert steps[: len(steps) // 2] == list(range(1, len(steps) // 2 + 1))


def test_nothing_to_resume(bert: Path, home: Path) -> None:
    message = refused("run", write_recipe(bert, "out"), "--resume")
    assert message == "There is no unfinished run in out.partial to resume: run without --resume."
    Path("out").mkdir()
    Path("out/recipe.yaml").touch()
    message = refused("run", write_recipe(bert, "out"), "--resume")
    assert message == "The run in out is complete, so that nothing is left to resume."
