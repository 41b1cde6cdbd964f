"""A search for the smallest model: sizes as they lie on the disk, always the same, also after a cut."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from tests.command import sentence, trimformer
from tests.search.conftest import Cut, recipe, result, weights
from trimformer import load
from trimformer.errors import TrimformerError
from trimformer.methods.tokens.vocabulary import Vocabulary
from trimformer.pipeline.run_folder import RunFolder
from trimformer.search.goals.base import ENOUGH
from trimformer.search.goals.forms import bytes_of
from trimformer.search.goals.size_report import card, conclude
from trimformer.search.goals.smallest import CUT, Candidate, Smallest
from trimformer.search.run import Autopilot, run
from trimformer.search.schedule.halving import Point
from trimformer.search.schema import SizeReport
from trimformer_cli.jobs import resumable

DATA = ["--data", "train.csv", "--text", "review", "--label", "stars"]


@pytest.fixture(scope="module", autouse=True)
def quick(counted: None) -> Iterator[None]:
    """Small matrices are written in few bits, too, and few forms are looked at."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("trimformer.methods.quantization.matrices.FEW", 64)
        patch.setattr("trimformer.search.shortlist.LOOKS", 3)
        yield


@pytest.fixture(scope="module")
def small(home: Path) -> Any:
    return run(recipe("small", max_drop=60, max_size="20kB"))


def test_a_search_that_exports_nothing_needs_no_package_for_it() -> None:
    assert not recipe(max_size="20kB").export.onnx
    assert recipe().export.onnx


def test_what_a_search_leaves(home: Path, small: SizeReport) -> None:
    names = {path.name for path in Path("small").iterdir()}
    assert names == {"autopilot.json", "dense", "frontier.html", "metrics.jsonl", "model", "points", "recipe.yaml"}
    assert small == SizeReport.model_validate_json(Path("small/autopilot.json").read_text())
    for one in (small.dense, *small.points):
        assert one.bytes == bytes_of(Path("small", one.folder))
        assert load(Path("small", one.folder)).config.num_hidden_layers <= 3
    assert "dense-b8" in {one.name for one in small.points}
    tried = [one.name for one in small.confirmations]
    fits = sorted((one for one in small.points if one.inside), key=lambda one: one.bytes)
    assert tried == [one.name for one in fits][: len(tried)]
    chosen = next(one for one in small.points if one.name == tried[-1])
    assert small.chosen == chosen.model_copy(update={"folder": "model"})
    assert weights(Path("small/model")) == weights(Path("small", chosen.folder))
    assert small.chosen.bytes < small.dense.bytes / 2
    assert [one.bytes for one in small.points] == sorted(one.bytes for one in small.points)
    best = [one for one in (*small.points, small.dense) if one.frontier]
    assert [one.score for one in best] == sorted(one.score for one in best)
    assert "MB on the disk" in Path("small/frontier.html").read_text("utf-8")
    card = Path("small/model/README.md").read_text("utf-8")
    assert f"## What was removed\n\n{chosen.removed.capitalize()}." in card
    assert trimformer("predict", "small/model", stdin="good\n").out in ("pos\n", "neg\n")


@pytest.mark.parametrize("name", ["candidates", "words", "forms", "confirm"])
def test_cut_and_resumed_equals_uninterrupted(
    home: Path, small: SizeReport, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    write = RunFolder.write_json

    def cutting(self: RunFolder, file: str, content: Any) -> None:
        if file == f"{name}.json":
            raise Cut
        write(self, file, content)

    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "write_json", cutting)
        with pytest.raises(Cut):
            run(recipe(f"cut-{name}", max_drop=60, max_size="20kB"))
    again = run(recipe(f"cut-{name}", max_drop=60, max_size="20kB"), resume=True)
    assert result(again) == result(small)
    assert weights(Path(f"cut-{name}")) == weights(Path("small"))


def test_nothing_but_the_dense_model_is_inside(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then that stays, and is said to be too large; what fewer words save was known before."""
    scored = "trimformer.search.goals.smallest.Ground.scored"
    monkeypatch.setattr(scored, lambda self, logits, rows=None: (0.1, 40.0))
    monkeypatch.setattr(Autopilot, "_enough", lambda *_: True)
    look, beside = Smallest._look, {}

    def looked(self: Smallest, one: Candidate, ground: Any) -> Point:
        found = look(self, one, ground)
        beside[one.name] = found.price - one.bytes
        return found

    monkeypatch.setattr(Smallest, "_look", looked)
    report = run(recipe("large", max_drop=1, max_size="20kB"))
    assert beside["dense-words-b8"] == pytest.approx(beside["dense-b8"], abs=40)  # digits of numbers in headers
    assert ENOUGH in report.notes
    assert isinstance(report, SizeReport)
    assert report.chosen == report.dense.model_copy(update={"folder": "model"})
    assert not report.inside
    assert "That is more than the 20.0 kB asked for" in " ".join(report.conclusion)


def test_forms_that_the_time_cut_short_are_said(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until there was time to look nothing was written, of as many models as may be."""
    look = Smallest._look

    def slow(self: Smallest, one: Candidate, ground: Any) -> Point:
        self.search.budget.end = 0.0
        return look(self, one, ground)

    def written(self: Vocabulary) -> Any:
        raise AssertionError("This form was not looked at.")

    monkeypatch.setattr(Smallest, "_look", slow)
    monkeypatch.setattr(Vocabulary, "result", written)
    monkeypatch.setattr(Autopilot, "_enough", lambda *_: True)
    report = run(recipe("hurried", max_drop=60, max_size="20kB"))
    assert CUT.format(1) in report.notes
    assert ENOUGH not in report.notes


def test_a_full_disk_is_no_reason_to_keep_all_words(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> Any:
        raise TrimformerError("No space left.")

    monkeypatch.setattr("trimformer.search.goals.smallest.bytes_of_tokenizer", full)
    with pytest.raises(TrimformerError, match="No space left"):
        run(recipe("full", max_drop=60, max_size="20kB"))
    assert not Path("full.partial/work/words.json").exists()


def test_words_that_cannot_go_are_said(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refusing(self: Vocabulary) -> Any:
        raise TrimformerError("The ids do not fit.")

    monkeypatch.setattr(Vocabulary, "shortened", refusing)
    report = run(recipe("words", max_drop=60, max_size="20kB"))
    assert report.notes.count("All rows of the word table stay: The ids do not fit.") == 1
    assert report.points
    assert not any("-words" in one.name for one in report.points)


def test_what_it_takes_to_be_as_small_as_was_asked_for(small: SizeReport) -> None:
    smallest = small.points[0].model_copy(update={"drop": 61.5, "inside": False, "bytes": small.chosen.bytes - 1})
    other = small.model_copy(update={"max_size": smallest.bytes, "points": [smallest, *small.points]})
    said = " ".join(conclude(other))
    assert f"asked for: {smallest.name} ({smallest.folder}) has" in said
    assert "loses 61.50 points on the selection rows: it takes --max-drop 61.5." in said
    unproven = small.model_copy(
        update={"max_size": smallest.bytes, "points": [smallest.model_copy(update={"inside": True})]}
    )
    assert "asked for: what was small enough was not confirmed." in " ".join(conclude(unproven))
    none = " ".join(conclude(small.model_copy(update={"max_size": 1})))
    assert "That is more than the 1 B asked for, which nothing that was looked at reached." in none
    assert "That is no more than the" in " ".join(conclude(small.model_copy(update={"max_size": small.chosen.bytes})))


def test_how_the_chosen_model_learned_is_said(small: SizeReport) -> None:
    def said(**changes: Any) -> str:
        return " ".join(conclude(small.model_copy(update={"chosen": small.chosen.model_copy(update=changes)})))

    assert "It was trained for 2 epochs more than the dense model" in said(name="l2-a2-words-b8", epochs=2.0)
    fitted = said(name="l2-a2-b8", epochs=0.0, fitted=True)
    assert "Nothing of it was trained: what is left was fitted to the dense model in closed form" in fitted
    assert "trained" not in said(name="dense-b8", epochs=0.0)


def test_models_that_were_stepped_over_are_no_files(small: SizeReport) -> None:
    last = small.confirmations[-1]
    failed = last.model_copy(update={"name": "l1-a1-b3", "confirmed": False})
    text = " ".join(conclude(small.model_copy(update={"confirmations": [failed, last]})))
    assert "1 smaller model was inside on selection and not confirmed: l1-a1-b3 under" in text


def test_a_card_says_only_what_is_there(small: SizeReport) -> None:
    (written,) = (one for one in small.points if one.name == "dense-b8")
    packed = card(small.model_copy(update={"chosen": written}), "small/model")
    assert "Weights in few bits are unpacked" in packed
    assert "Times hold" not in packed
    assert (
        "- The scores come from one training run; another seed gives somewhat different ones.\n- The folder" in packed
    )
    task = small.task.model_copy(update={"n_unlabelled": 12})
    plain = card(small.model_copy(update={"task": task, "chosen": small.dense}), "small/model")
    assert "rows, beside which the model was distilled on 12 texts without labels); the test" in plain
    assert "Weights in few bits" not in plain
    assert "that chose nothing.\n\n| model |" in plain


def test_who_stops_a_search_is_told_of_no_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    best = tmp_path / "stopped.partial" / "best"
    (best / "model").mkdir(parents=True)
    with pytest.raises(typer.Exit), resumable(tmp_path / "stopped"):
        raise KeyboardInterrupt
    assert f"The best model by now is in {best}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--max-size", "10MB"], "--max-size belongs to --max-drop: add a budget, as in --max-drop 0.5."),
        (["--max-drop", 1, "--max-size", "ten"], "--max-size: 'ten' is not a size: write 10MB, 800kB or 1.5GB."),
        (["--max-drop", 1, "--max-size", "0MB"], "--max-size: input should be greater than 0"),
        (["--max-drop", 1, "--max-size", "1MB", "--min-speedup", 2], "nothing is timed, leave one of them out"),
        (["--max-drop", 1, "--max-size", "1MB", "--batch", 2], "nothing is timed, leave batch and length out"),
        (["--max-drop", 1, "--max-size", "1MB", "--length", 8], "nothing is timed, leave batch and length out"),
        (["--max-drop", 1, "--max-size", "9" * 400 + "MB"], "is not a size: write 10MB, 800kB or 1.5GB."),
        (["--max-drop", 1, "--max-size", "9" * 300 + "MB"], "--max-size: input should be less than 1000000"),
    ],
)
def test_mistakes(home: Path, arguments: list[Any], said: str) -> None:
    assert said in sentence(trimformer("compress", "bert", *DATA, *arguments, "--out", "wrong"))
    assert not Path("wrong.partial").exists()
