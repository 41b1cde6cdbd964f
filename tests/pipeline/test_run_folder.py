"""A run goes on with what it was started with, or not at all; and whatever is left can be resumed or started over."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.command import sentence, trimformer
from tests.tinymodel import write_csv, write_stock_bert
from trimformer.encoder.checkpoints.load import load
from trimformer.errors import TrimformerError
from trimformer.files import new_folder
from trimformer.lock import hold
from trimformer.measure.bench.latency import Timing
from trimformer.pipeline.results import Measured, export_model
from trimformer.pipeline.run_folder import RunFolder
from trimformer.pipeline.stages import StageInfo
from trimformer.recipe.reading import load_recipe
from trimformer.recipe.settings import ExportSettings, MeasureSettings
from trimformer.recipe.standard import standard_recipe
from trimformer.report.schema import Report, Step
from trimformer.search.confirmation import Confirmation
from trimformer.search.executors.chosen import Shared
from trimformer.search.goals.fastest import FileTest
from trimformer.search.measurement import Measurement
from trimformer.search.schedule.halving import Point
from trimformer.tasks.settings import TaskSettings
from trimformer.training.settings import TrainingSettings
from trimformer.work_files import explain_damage, read_work_file

RECIPE = Path("recipe.yaml")
SAVED = Path("out.partial/recipe.yaml")


class Cut(Exception):
    """Stands for a power cut: nothing after it runs."""


def cut(*_: Any) -> None:
    raise Cut


def cut_at(name: str, *options: str) -> None:
    """Run the recipe, or resume it, up to where this function of the run is called."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(f"trimformer.pipeline.run.{name}", cut)
        with pytest.raises(Cut):
            trimformer("run", RECIPE, *options)


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data, a model, a recipe, and a run of it that was killed as soon as its folder was there."""
    home = tmp_path_factory.mktemp("killed")
    with contextlib.chdir(home):
        write_stock_bert(Path("bert"))
        write_csv(Path("train.csv"))
        write_csv(Path("dev.csv"), rows=20)
        recipe = standard_recipe(
            "bert", TaskSettings(train="train.csv", validation="dev.csv", text="review", label="stars"), "out",
            method={"name": "last-k", "keep_layers": 1}, training=TrainingSettings(epochs=1),
        )  # fmt: skip
        quick = {"export": ExportSettings(onnx=False), "measure": MeasureSettings(backends=["torch"], batch=[1])}
        recipe.model_copy(update=quick).save(RECIPE)
        cut_at("make_dense")
    return home


@pytest.fixture
def home(killed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, the current folder."""
    shutil.copytree(killed, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def resumed(recipe: Path = RECIPE) -> Any:
    return trimformer("run", recipe, "--resume", "--json")


def refused(recipe: Path = RECIPE) -> str:
    """What a resumed run says; it must change nothing."""
    before = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}
    said = sentence(resumed(recipe))
    assert {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()} == before
    return said


def edit(name: str, *changes: tuple[str, str]) -> None:
    path = Path(name)
    text = path.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)


def rename_labels() -> None:
    for name in ("train.csv", "dev.csv"):
        edit(name, (",pos", ",good"), (",neg", ",bad"))


def exchange_labels() -> None:
    edit("train.csv", (",pos", ",?"), (",neg", ",pos"), (",?", ",neg"))


def cut_rows() -> None:
    write_csv(Path("train.csv"), rows=52)


def change_tokenizer() -> None:
    edit("bert/tokenizer_config.json", ('"pad_token": "[PAD]"', '"pad_token": "[UNK]"'))


def change_weights() -> None:
    weights = load_file("bert/model.safetensors")
    weights["embeddings.LayerNorm.bias"] += 1
    save_file(weights, "bert/model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (rename_labels, "the labels"),
        (exchange_labels, "the training rows, the selection rows"),
        (cut_rows, "the training rows, the selection rows"),
        (lambda: write_csv(Path("dev.csv"), rows=18), "the validation rows"),
        (lambda: edit("dev.csv", ("the good,", "the bad,")), "the validation rows"),
        (change_tokenizer, "the tokenizer"),
        (change_weights, "the checkpoint's weights"),
        (lambda: edit("bert/config.json", ('"gelu"', '"relu"')), "the checkpoint's configuration"),
    ],
)
def test_other_inputs_are_named(home: Path, change: Callable[[], Any], named: str) -> None:
    change()
    assert refused() == (
        "The unfinished run in out.partial cannot go on with what has changed since its start: "
        f"{named}; restore that, or start in a new folder."
    )


def test_another_baseline_is_named(home: Path) -> None:
    shutil.rmtree("out.partial")
    load("bert", labels=["neg", "pos"]).save_pretrained("base")
    edit("recipe.yaml", ("baseline: null", "baseline: base"))
    cut_at("make_dense")
    cut_at("make_dense", "--resume")
    load("bert", labels=["neg", "pos"]).save_pretrained("base")  # with another random head
    assert "since its start: the baseline; restore that" in refused()


def test_an_edited_recipe_is_refused_though_it_is_the_one_in_the_folder(home: Path) -> None:
    edit(str(SAVED), ("max_length: null", "max_length: 16"))
    assert refused(SAVED) == (
        "The unfinished run in out.partial cannot go on with what has changed since its start: "
        "task.max_length in the recipe (at first null); restore that, or start in a new folder."
    )


def test_a_run_that_was_killed_before_its_first_step_goes_on(home: Path) -> None:
    """By its own recipe; what was written into the one in the folder meanwhile is not said of the result."""
    edit(str(SAVED), ("seed: 0", "seed: 1"))
    found = resumed()
    assert found.code == 0, found.err
    assert Report.model_validate_json(found.out).removed_layers() == [1]
    assert load_recipe("out/recipe.yaml").seed == 0
    assert {path.name for path in Path().iterdir()} == {"bert", "dev.csv", "out", "recipe.yaml", "train.csv"}


def test_a_changed_input_is_found_late_in_a_run_too(home: Path) -> None:
    cut_at("measure", "--resume")
    rename_labels()
    assert "the labels" in refused()
    edit("train.csv", (",good", ",pos"), (",bad", ",neg"))
    edit("dev.csv", (",good", ",pos"), (",bad", ",neg"))
    cut_at("measure", "--resume")


@pytest.mark.parametrize("options", [[], ["--resume"]])
def test_a_run_whose_process_lives_is_left_alone(home: Path, options: list[str]) -> None:
    with hold(Path("out.partial.lock")):
        said = sentence(trimformer("run", RECIPE, *options))
    assert said.startswith("Another process (id ")
    assert said.endswith("is running and holds out.partial.lock: wait until it has ended, or stop it.")


def test_a_run_holds_its_folder_from_its_start_to_its_end(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Started or resumed; and not beyond, however it ends."""
    shutil.rmtree("out.partial")
    seen = []

    def try_again(*_: Any) -> None:
        seen.extend([resumed().err, trimformer("run", RECIPE).err])
        raise Cut

    for options in ([], ["--resume"]):
        monkeypatch.setattr("trimformer.pipeline.run.make_dense", try_again)
        with pytest.raises(Cut):
            trimformer("run", RECIPE, *options)
        assert not Path("out.partial.lock").exists()
    assert len(seen) == 4
    assert all("is running and holds out.partial.lock" in said for said in seen)


def test_a_run_and_an_export_into_one_folder_keep_each_other_out(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = []

    def meanwhile(*_: Any) -> None:
        said.append(sentence(trimformer("export", "bert", "--to", "huggingface", "--out", "out")))
        raise Cut

    monkeypatch.setattr("trimformer.pipeline.run.make_dense", meanwhile)
    with pytest.raises(Cut):
        trimformer("run", RECIPE, "--resume")
    shutil.rmtree("out.partial")
    with new_folder(Path("out")):
        said.append(sentence(trimformer("run", RECIPE)))
    assert all("is running and holds out.partial.lock: wait until it has ended" in one for one in said)
    assert not Path("out.partial").exists()


def test_an_output_folder_that_fills_up_meanwhile_is_left_and_the_run_can_be_resumed(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:

    def fill(*given: Any) -> Any:
        Path("out").mkdir()
        Path("out/theirs").touch()
        return export_model(*given)

    with monkeypatch.context() as patch:
        patch.setattr("trimformer.pipeline.run.export_model", fill)
        found = trimformer("run", RECIPE, "--resume", "--json")
        assert (found.code, found.err.splitlines()[-1]) == (
            2,
            "error: The output folder out exists and is not empty: the run is complete in out.partial, so move what is "
            "there elsewhere, and resume the run (`trimformer run out.partial/recipe.yaml --resume`).",
        )
    assert refused().endswith("is not empty: move what is there elsewhere, and resume the run.")
    Path("out").rename("theirs")
    assert resumed().code == 0
    assert Path("out/report.json").is_file()


def test_the_later_of_two_that_start_at_once_is_refused(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both have read their data when the first makes the folder."""
    shutil.rmtree("out.partial")
    begin = RunFolder.begin

    def overtaken(self: RunFolder, *inputs: Any) -> None:
        monkeypatch.setattr(RunFolder, "begin", begin)
        cut_at("make_dense")
        begin(self, *inputs)

    monkeypatch.setattr(RunFolder, "begin", overtaken)
    assert sentence(trimformer("run", RECIPE)) == (
        "Another run has started in out.partial: choose another output folder."
    )


def test_the_lock_of_a_killed_process_is_no_obstacle(home: Path) -> None:
    Path("out.partial.lock").write_text("1\n")
    cut_at("make_dense", "--resume")
    Path("out.partial.lock").write_text("1\n")
    assert "An unfinished run is in out.partial: go on with" in sentence(trimformer("run", RECIPE))


@pytest.mark.parametrize("options", [[], ["--resume"]])
@pytest.mark.parametrize("left", ["empty", "damaged"])
def test_a_folder_without_a_run_is_told_from_one_with(home: Path, options: list[str], left: str) -> None:
    if left == "empty":
        shutil.rmtree("out.partial")
        Path("out.partial").mkdir()
    else:
        Path("out.partial/work/started_with.json").write_text(json.dumps({"recipe": {}}))
    assert sentence(trimformer("run", RECIPE, *options)) == (
        "out.partial holds no run that can be resumed: choose another output folder, or delete this one."
    )


def test_a_moved_run_goes_on(home: Path) -> None:
    Path("other").mkdir()
    Path("out.partial").rename("other/out.partial")
    edit("recipe.yaml", ("out: out", "out: other/out"))
    cut_at("make_dense", "--resume")
    assert load_recipe("other/out.partial/recipe.yaml").out == "other/out"


def folder_with(path: Path, name: str, text: str) -> RunFolder:
    (path / name).write_text(text)
    folder = RunFolder.__new__(RunFolder)
    folder.work = path
    return folder


POINT = {"name": "a", "removed": "", "price": 1.0, "folder": "0-a"}
TIMING: dict[str, Any] = {
    "name": "a", "backend": "torch", "batch": 1, "length": 8, "median_ms": 1.0, "p95_ms": 1.0, "runs": 1, "threads": 1
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "of", "text", "said"),
    [
        *(("rung-1", list[Point], text, "") for text in ("{", "[" * 100_000, "\x00")),
        ("rung-1", list[Point], "{}", r" \(Input should be a valid list\)"),
        ("rung-1", list[Point], '[{"name": "a"}]', r" \(0\.removed: "),
        ("rung-1", list[Point], json.dumps([POINT | {"price": "fast"}]), r" \(0\.price: "),
        ("files", list[Measurement], json.dumps([{"timing": [], "score": 1, "drop": 0}]), r" \(0\.timing: "),
        ("files", list[Measurement], json.dumps([{"timing": TIMING | {"batch": None}}]), r" \(0\.timing\.batch: "),
        ("confirm", list[Confirmation], '[{"name": "a", "backend": "b", "test": {}}]', r" \(0\.test\.difference: "),
        ("jobs", Shared, "[]", r" \(Input should be a valid dictionary\)"),
        ("steps", list[Step], '[{"name": "load"}]', r" \(0\.seconds: "),
        ("measure", Measured, '{"variants": [{}]}', r" \(variants\.0\."),
        ("test", FileTest, '{"file": "f", "tested": {"test": {}}}', r" \(tested\.test\.difference: "),
    ],
)
def test_a_damaged_work_file_is_one_sentence(tmp_path: Path, name: str, of: Any, text: str, said: str) -> None:
    folder = folder_with(tmp_path, f"{name}.json", text)
    with pytest.raises(TrimformerError, match=rf"{name}\.json is damaged{said}.*: delete it, and what it says is"):
        folder.read_json(f"{name}.json", of, None)


def test_what_is_written_down_comes_back_as_it_was(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, "rung-1.json", json.dumps([POINT]))
    point = Point("a", "", 1.0, "0-a")
    assert folder.kept("rung-1", list[Point], lambda: pytest.fail("known")) == [point]
    measurement = Measurement(Timing(**TIMING), 0.5, 1.0)
    for _ in range(2):
        assert folder.kept("files", list[Measurement], lambda: [dataclasses.asdict(measurement)]) == [measurement]
    with pytest.raises(TrimformerError, match="names no model of a search"):
        folder_with(tmp_path, "rung-1.json", json.dumps([POINT | {"name": "../a"}])).read_json(
            "rung-1.json", list[Point], None
        )


def test_a_damaged_state_of_a_training_is_one_sentence(tmp_path: Path) -> None:
    for content in (b"", b"PK\x03\x04", b"\x80"):
        (tmp_path / "state-0.pt").write_bytes(content)
        with (
            pytest.raises(TrimformerError, match=r"state-0\.pt is damaged: start anew\."),
            explain_damage(tmp_path / "state-0.pt", "start anew"),
        ):
            torch.load(tmp_path / "state-0.pt", weights_only=True)


def test_a_stage_with_a_damaged_note_says_what_to_delete(tmp_path: Path) -> None:
    (tmp_path / "stage.json").write_text('{"history": {"loss": [[1, "x"]]}, "clock": {}, "steps": 1, "notes": []}')
    with pytest.raises(TrimformerError, match=r"stage\.json is damaged \(history\.loss\.0\.1\..*: delete the folder"):
        read_work_file(tmp_path / "stage.json", StageInfo, "delete the folder")
