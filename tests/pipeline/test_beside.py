"""Runs that learn from texts without labels beside the labelled rows."""

import dataclasses

import numpy as np
import pytest
from accelerate import Accelerator

from tests.command import sentence, trimformer
from tests.tinymodel import write_csv, write_scores, write_stock_bert
from trimformer import TrimformerError
from trimformer.pipeline import stages as module
from trimformer.pipeline.accelerator import prepared
from trimformer.pipeline.dense import make_dense
from trimformer.pipeline.digests import digests
from trimformer.pipeline.inputs import load_inputs
from trimformer.pipeline.run import run
from trimformer.pipeline.stages import Stages
from trimformer.recipe.reading import parse
from trimformer.training.settings import ObjectiveSettings

LAST = {"name": "last", "method": {"name": "last-k", "keep_layers": 1}, "start": "dense"}
TUNE = {
    "name": "tune",
    "method": {"name": "finetune"},
    "objective": {"logits": 1.0},
    "training": {"epochs": 1, "batch_size": 8},
}
DISTILLED, PLAIN = ObjectiveSettings(logits=1.0), ObjectiveSettings()


def texts(path, rows=16):
    path.write_text("".join(f"the music and plot {i * 'very '}bright\n" for i in range(rows)))
    return str(path)


def recipe(tmp_path, *stages, task=None, **more):
    folder = tmp_path / "m"
    model = folder if folder.is_dir() else write_stock_bert(folder, ["neg", "pos"])
    data = {"train": str(write_csv(tmp_path / "t.csv")), "text": "review", "label": "stars"}
    settings = data | {"texts": [texts(tmp_path / "x.txt")]} | (task or {})
    content = {
        "model": str(model),
        "task": settings,
        "out": str(tmp_path / "o"),
        "stages": list(stages or [LAST, TUNE]),
    }
    return parse(content | {"fine_tune": "never"} | more, "these settings")


def inputs(*given, **more):
    return load_inputs(recipe(*given, **more), Accelerator(cpu=True))


def test_only_what_distils_learns_from_them(tmp_path):
    found = inputs(tmp_path)
    assert (len(found.train), len(found.unlabelled)) == (44, 16)
    assert found.learned(PLAIN) is found.train
    rows = found.learned(DISTILLED)
    assert rows is found.learned(DISTILLED)
    assert rows.examples.texts == found.train.examples.texts + found.unlabelled.texts
    assert rows.labels.tolist() == found.train.labels.tolist() + [-100] * 16
    assert "16 texts without labels stand beside 44 with labels where a stage distils." in found.notes


def test_numbers_are_scaled_by_those_that_are_there(tmp_path):
    write_stock_bert(tmp_path / "m", ["x"])
    task = {"train": str(write_scores(tmp_path / "s.jsonl")), "text": None, "label": None}
    made, accelerator = prepared(recipe(tmp_path, task=task))
    stages = Stages(load_inputs(made, accelerator), accelerator, 0, tmp_path)
    context = stages.context(made.stages[1], [make_dense(made, stages, tmp_path / "dense")])
    given, labels = context.train.labels, context.rows.labels
    assert given.mean() == pytest.approx(0, abs=1e-6)
    assert labels[: len(given)].tolist() == given.tolist()
    assert np.isnan(labels[len(given) :]).all()
    assert len(labels) == len(given) + 16
    assert context.steps == 8


def test_they_are_part_of_what_a_run_was_started_with(tmp_path):
    before = digests(inputs(tmp_path), None)
    after = digests(inputs(tmp_path, task={"texts": [texts(tmp_path / "y.txt", 15)]}), None)
    assert [name for name in before if before[name] != after[name]] == ["the texts without labels"]
    none = digests(inputs(tmp_path, task={"texts": None}), None)
    assert before.keys() - none.keys() == {"the texts without labels"}


def test_a_run_says_how_many_it_learned_from(tmp_path, monkeypatch):
    seen = []
    train = module.train
    monkeypatch.setattr(
        module, "train", lambda method, rows, *a, **k: seen.append(len(rows)) or train(method, rows, *a, **k)
    )
    measure = {"backends": ["torch"], "batch": [1], "resamples": 100}
    report = run(recipe(tmp_path, measure=measure, export={"onnx": False}, control="dense"))
    assert seen == [60, 60]  # the repair, and the control beside it
    assert (report.task.n_train, report.task.n_unlabelled) == (44, 16)
    assert report.training.epochs == 1
    assert "16 examples, on which the model was distilled, too" in (tmp_path / "o" / "report.html").read_text()
    assert "and distilled on 16 texts without labels, too" in (tmp_path / "o" / "model" / "README.md").read_text()


def test_a_recipe_that_does_not_distil_is_refused(tmp_path):
    alone = {key: value for key, value in TUNE.items() if key != "objective"}
    for stages in ([LAST], [LAST, alone]):
        with pytest.raises(TrimformerError, match=r"task\.texts names rows without labels.*nothing does so here"):
            inputs(tmp_path, *stages)
    arguments = ("--train", tmp_path / "t.csv", "--text", "review", "--label", "stars", "--texts", tmp_path / "x.txt")
    said = sentence(trimformer("compress", tmp_path / "m", *arguments, "--post-training", "--out", tmp_path / "o"))
    assert said.startswith("The setting task.texts names rows without labels")


def test_another_tokenizer_reads_them_too(tmp_path):
    found = inputs(tmp_path)
    other = found.read_with(found.tokenizer)
    assert np.array_equal(other.distilled.ids, found.distilled.ids)
    assert dataclasses.replace(found, unlabelled=None).distilled is found.train
