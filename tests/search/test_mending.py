"""int8 files of a search that do not answer as fp32 does: what is timed and taken afterwards is the mended one."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import TypeAdapter

from tests.deploy.test_agreement import outliers, texts
from tests.inference.test_exits import outliers as outliers_with_exits
from tests.search.conftest import Cut
from tests.tinymodel import words_tokenizer
from trimformer.deploy.agreement import agrees
from trimformer.deploy.mend import Mended
from trimformer.measure.bench.latency import Timing
from trimformer.pipeline.run_folder import RunFolder
from trimformer.search.goals import fastest
from trimformer.search.measurement import Measurement, Scored, scores_of, variants_of, with_thresholds
from trimformer.search.mending import Trials, with_mended
from trimformer.tasks.data import Examples, Task
from trimformer.tasks.encode import encode
from trimformer.tasks.encoding.encoded import Encoded

TASK = Task("toy", "classification", ("a", "b"), ("accuracy",), "made in the test")
BACKENDS = ["onnx", "onnx-int8"]

pytestmark = pytest.mark.usefixtures("unsmoothed")


def at_once(name: str, of: Any, work: Any) -> Any:
    """For what is not resumed: nothing is written down."""
    return work()


def rows() -> Encoded:
    labels = [index % 2 for index in range(60)]
    return encode(TASK, Examples(texts(), None, labels), words_tokenizer(), max_length=40)


def test_what_was_mended_is_opened_from_then_on(tmp_path: Path) -> None:
    model, data = tmp_path / "point" / "model", rows()
    outliers().save_pretrained(model)

    def made() -> list[Any]:
        return variants_of({"point": model}, BACKENDS, tmp_path / "exports", 1, data)

    variants = made()
    scores = scores_of(variants, TASK, data)
    assert not agrees(scores["point", "onnx-int8"].agreement)
    found, scored = with_mended(variants, scores, {"point": model}, TASK, data, data, 1, at_once)
    assert found[0] is variants[0]
    assert scored["point", "onnx"] == scores["point", "onnx"]
    mended = scored["point", "onnx-int8"]
    assert agrees(mended.agreement)
    assert mended.mended is not None
    assert set(mended.mended.kept) <= {"layers.0.ffn_out", "layers.1.ffn_out"}
    assert mended.mended.before == scores["point", "onnx-int8"].agreement
    for again in (found, made()):  # the variant itself, and whoever asks for the file later
        assert scores_of(again, TASK, data)["point", "onnx-int8"][:2] == mended[:2]


@pytest.mark.parametrize("cut", ["maps_to_keep", "with_kept"])
def test_cut_and_resumed_equals_uninterrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cut: str) -> None:
    """Cut when the maps are known and nothing is written down yet, and when the file is written and not scored yet."""
    model, data = tmp_path / "point" / "model", rows()
    outliers().save_pretrained(model)

    def searched(place: Path) -> Any:
        folder: Any = RunFolder.__new__(RunFolder)
        folder.work = place
        place.mkdir(exist_ok=True)
        variants = variants_of({"point": model}, BACKENDS, place, 1, data)
        scores = scores_of(variants, TASK, data)
        return with_mended(variants, scores, {"point": model}, TASK, data, data, 1, folder.kept)

    work = getattr(Trials, cut)

    def cutting(self: Trials, given: Any) -> Any:
        work(self, given)
        raise Cut

    with monkeypatch.context() as patch:
        patch.setattr(Trials, cut, cutting)
        with pytest.raises(Cut):
            searched(tmp_path / "cut")
    again, whole = searched(tmp_path / "cut"), searched(tmp_path / "whole")
    assert again[1] == whole[1]
    assert again[1]["point", "onnx-int8"].mended is not None
    assert again[0][1].path.read_bytes() == whole[0][1].path.read_bytes()


def test_the_segments_of_a_model_with_exits_are_mended_and_count_layers(tmp_path: Path) -> None:
    model, data = tmp_path / "point" / "model", rows()
    outliers_with_exits().save_pretrained(model)
    words_tokenizer().save_pretrained(model)
    variants = variants_of({"point": model}, ["onnx-int8"], tmp_path / "exports", 1, data)
    scores = scores_of(variants, TASK, data)
    low = {name: scored._replace(agreement=0.5) for name, scored in scores.items()}
    (found,), scored = with_mended(variants, low, {"point": model}, TASK, data, data, 1, at_once)
    assert scored["point", "onnx-int8"].mended is not None
    assert found.executed is not None
    found.executed.take()
    scores_of([found], TASK, data)
    assert sum(found.executed.take()) == len(data)


def test_a_resumed_search_knows_how_files_agreed_before_they_had_thresholds(tmp_path: Path) -> None:
    model, data = tmp_path / "point" / "model", rows()
    net = outliers_with_exits()
    net.config.exits |= {"threshold": 0.0, "max_drop": 100.0}  # in fp32 none leaves; of the file all may
    net.save_pretrained(model)
    words_tokenizer().save_pretrained(model)
    folder: Any = RunFolder.__new__(RunFolder)
    folder.work = tmp_path

    def searched() -> Any:
        variants = variants_of({"point": model}, ["onnx", "onnx-int8"], tmp_path / "exports", 1, data)
        return with_thresholds(variants, scores_of(variants, TASK, data), TASK, data, 1, folder.kept)

    (_, found), scored = searched()
    config = json.loads((found.path.parent / "config.json").read_text("utf-8"))
    assert config["exits"]["thresholds"]["onnx-int8"] > 0
    found.executed.take()
    scores_of([found], TASK, data)
    assert found.executed.take()[0] == len(data)
    assert searched()[1] == scored


def test_a_file_that_agrees_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trimformer.search.mending.load_with_head", None)
    variant: Any = type("Variant", (), {"name": "point", "backend": "onnx-int8"})()
    models = {"point": Path("point")}
    for known in (Scored(0.9, 0.98), Scored(0.9, None)):
        scores = {("point", "onnx-int8"): known}
        assert with_mended([variant], scores, models, TASK, rows(), rows(), 1, at_once) == ([variant], scores)


@pytest.mark.parametrize("seconds", [math.inf, 60.0])
def test_under_a_limit_of_time_nothing_is_mended(seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(fastest, "scores_of", lambda *_: {})
    monkeypatch.setattr(fastest, "with_mended", lambda variants, scores, *_: (asked.append(1) or variants, scores))
    search = SimpleNamespace(budget=SimpleNamespace(seconds=seconds), threads=1)
    goal: Any = SimpleNamespace(search=search, folder=SimpleNamespace(kept=at_once))
    inputs: Any = type("Inputs", (), {"task": None, "selection": None, "train": None})
    fastest.Fastest._scored(goal, [], {}, inputs)
    assert len(asked) == math.isinf(seconds)


def test_what_stays_in_fp32_survives_the_folder() -> None:
    timing = Timing("dense", "onnx-int8", 1, 8, 2.0, 2.0, 1, 1, sequences_per_s=500.0)
    one = Measurement(timing, 0.9, 0.1, 0.99, Mended(("layers.0.ffn_out",), 15, 0.5))
    adapter = TypeAdapter(list[Measurement])
    assert adapter.validate_json(json.dumps([dataclasses.asdict(one)])) == [one]
    assert one.scored == Scored(0.9, 0.99, one.mended)
