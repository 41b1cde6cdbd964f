"""Stages that learn from new rows: who may, of which rows they are, and what is kept and said of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.pipeline.test_check import check, refused
from tests.tinymodel import texts, write_csv, write_stock_bert
from trimformer import TrimformerError
from trimformer.pipeline import stages as module
from trimformer.pipeline.accelerator import prepared
from trimformer.pipeline.control import control_stages
from trimformer.pipeline.dense import make_dense
from trimformer.pipeline.digests import digests
from trimformer.pipeline.inputs import load_inputs
from trimformer.pipeline.stages import StageResult, Stages
from trimformer.recipe.reading import parse
from trimformer.tasks.augmentation.replacement import Replacement

WAY = {"name": "word-replacement", "copies": 3}
LEARNS = {"method": {"name": "finetune"}, "objective": {"task": 0, "logits": 1}, "augment": WAY}
HALF = {"epochs": 0.5, "batch_size": 8}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIMFORMER_CACHE", str(tmp_path / "cache"))


def recipe(tmp_path: Path, task: dict[str, Any], *stages: dict[str, Any]) -> Any:
    write_stock_bert(tmp_path / "bert", layers=1)
    named = [{"name": f"s{number}", "training": HALF} | stage for number, stage in enumerate(stages)]
    content = {"model": str(tmp_path / "bert"), "task": task, "out": "o", "dense": HALF, "stages": named}
    return parse(content, "x")


def learned(tmp_path: Path, task: dict[str, Any], *stages: dict[str, Any]) -> tuple[Stages, list[StageResult]]:
    made, accelerator = prepared(recipe(tmp_path, task, *stages))
    runner = Stages(load_inputs(made, accelerator), accelerator, 0, tmp_path)
    results = [make_dense(made, runner, tmp_path / "dense")]
    for number, stage in enumerate(made.stages):
        results.append(runner.run(stage, number, tmp_path / stage.name, results))
    return runner, results


def reviews(tmp_path: Path) -> dict[str, Any]:
    return {"data": str(write_csv(tmp_path / "data.csv", rows=80)), "text": "review", "label": "stars"}


def test_a_stage_learns_from_its_training_rows_and_new_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    train = module.train
    monkeypatch.setattr(module, "train", lambda *a, **k: seen.append(a[1].examples) or train(*a, **k))
    runner, results = learned(tmp_path, reviews(tmp_path), LEARNS, {"method": {"name": "finetune"}})
    dense, augmented, after = seen
    given, info = runner.inputs.train.examples, results[1].info["augmentation"]
    assert dense == after == given
    assert len(augmented) == len(given) + info.new > 2 * len(given)
    assert augmented.texts[: len(given)] == given.texts
    assert augmented.labels == given.labels + [None] * info.new
    held = runner.inputs.selection.examples.texts + runner.inputs.validation.examples.texts
    assert not set(augmented.texts[len(given) :]) & set(held)
    assert results[1].info["epochs"] == pytest.approx(0.5 * len(augmented) / len(given))
    assert results[1].info["notes"][0].startswith("s0: word-replacement made ")
    assert "augmentation" not in results[2].info
    assert StageResult.read("s0", tmp_path / "s0").info == results[1].info | {"history": {}}


def test_new_rows_stand_behind_texts_without_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    train = module.train
    monkeypatch.setattr(module, "train", lambda *a, **k: seen.append(a[1].examples) or train(*a, **k))
    (tmp_path / "texts.txt").write_text("bright music\nclumsy plot and film\n")
    labelled = LEARNS | {"objective": {"task": 1, "logits": 1}}
    runner, results = learned(tmp_path, reviews(tmp_path) | {"texts": [str(tmp_path / "texts.txt")]}, labelled)
    given, rows = runner.inputs.train.examples, seen[1]
    assert rows.texts[len(given) : len(given) + 2] == ["bright music", "clumsy plot and film"]
    assert rows.labels[len(given) :] == [None] * (2 + results[1].info["augmentation"].new)
    assert results[1].info["epochs"] == pytest.approx(0.5 * len(rows) / (len(given) + 2))


def test_a_stage_that_is_done_again_finds_its_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = learned(tmp_path, reviews(tmp_path), LEARNS)[1][-1]
    (tmp_path / "s0").rename(tmp_path / "before")
    monkeypatch.setattr(Replacement, "make", None)
    again = learned(tmp_path, reviews(tmp_path), LEARNS)[1][-1]
    assert again.info["augmentation"] == first.info["augmentation"]
    weights = [folder / "model/model.safetensors" for folder in (tmp_path / "before", tmp_path / "s0")]
    assert weights[0].read_bytes() == weights[1].read_bytes()


@pytest.mark.parametrize("kind", ["regression", "multilabel", "pairs"])
def test_numbers_several_labels_and_pairs(tmp_path: Path, kind: str) -> None:
    labels = {
        "regression": lambda i, good: good + i / 100,
        "multilabel": lambda i, good: ["a"] * good + ["b"] * (i % 3 > 0),
    }
    label = labels.get(kind, lambda _, good: "yes" if good else "no")
    rows = [
        {"text": text, "pair": f"film {i % 5}", "label": label(i, good)} for i, (text, good) in enumerate(texts(60))
    ]
    (tmp_path / "d.jsonl").write_text("\n".join(map(json.dumps, rows)))
    task = {"data": str(tmp_path / "d.jsonl"), "kind": "classification" if kind == "pairs" else kind}
    _, results = learned(tmp_path, task | ({"text_pair": "pair"} if kind == "pairs" else {}), LEARNS)
    info = results[1].info["augmentation"]
    assert info.new > 50
    assert len(info.examples[0].before) == (2 if kind == "pairs" else 1)


def test_the_teacher_reads_the_new_rows_in_its_own_tokens(tmp_path: Path) -> None:
    cut = {"method": {"name": "vocabulary"}}
    cached = {"objective": {"task": 0, "logits": 1, "cache": True}}
    runner, results = learned(tmp_path, reviews(tmp_path), cut, LEARNS | cached)
    assert results[2].info["own_tokenizer"]
    assert results[2].info["augmentation"].new > len(runner.inputs.train)


@pytest.mark.parametrize(
    ("stage", "said"),
    [
        (
            {"method": {"name": "last-k", "keep_layers": 2}},
            "augment gives rows to learn from, and last-k trains nothing: leave it out.",
        ),
        ({"objective": {"task": 1}}, "augment makes rows that the teacher labels, and this objective does not distil"),
        ({"augment": {"name": "masking"}}, "the tokenizer has no mask token"),
        ({"augment": {"name": "word-replacement", "glove": "none.txt"}}, "The word vectors none.txt cannot be read"),
    ],
)
def test_a_stage_that_cannot_use_new_rows_is_refused(stage: dict[str, Any], said: str) -> None:
    assert said in refused(LEARNS | stage)


@pytest.mark.parametrize("kind", ["tokens", "spans"])
def test_words_with_labels_of_their_own_are_not_changed(kind: str) -> None:
    assert refused(LEARNS, kind=kind) == (
        f"Stage s0: augment changes the words of texts, and the task is {kind}: leave it out."
    )
    check(LEARNS, kind="regression")


def test_ragged_word_vectors_are_refused_before_any_training(tmp_path: Path) -> None:
    (tmp_path / "v.txt").write_text("film 1 2\nplot 1\n")
    assert "Stage s0: Line 2 of the word vectors" in refused(
        LEARNS | {"augment": WAY | {"glove": str(tmp_path / "v.txt")}}
    )


def test_a_run_cannot_go_on_with_other_word_vectors(tmp_path: Path) -> None:
    vectors = tmp_path / "v.txt"
    vectors.write_text("film 1 2\n")
    made, accelerator = prepared(
        recipe(tmp_path, reviews(tmp_path), LEARNS | {"augment": WAY | {"glove": str(vectors)}})
    )
    inputs = load_inputs(made, accelerator)
    before = digests(inputs, None, made.stages)
    vectors.write_text("film 1 3\n")
    after = digests(inputs, None, made.stages)
    assert [name for name in before if before[name] != after[name]] == ["the word vectors of the stage s0"]


def test_the_control_learns_from_the_same_rows(tmp_path: Path) -> None:
    made = recipe(tmp_path, {}, LEARNS)
    assert control_stages(made)[0].augment == made.stages[0].augment


def test_an_augmentation_is_named_and_its_settings_are_read_strictly(tmp_path: Path) -> None:
    named = recipe(tmp_path, {}, LEARNS | {"augment": "masking"}).stages[0].augment
    assert (named.name, named.mask) == ("masking", 0.1)
    for augment, said in (
        ("word-replacment", "Unknown augmentation 'word-replacment' in x: did you mean 'word-replacement'?"),
        ({"name": "masking", "masks": 1}, "Unknown key 'stages.0.augment.masks' in x: did you mean 'mask'?"),
        ({"name": "masking", "mask": 2}, "stages.0.augment.mask in x: input should be less than or equal to 1"),
    ):
        with pytest.raises(TrimformerError) as caught:
            recipe(tmp_path, {}, LEARNS | {"augment": augment})
        assert said in str(caught.value)
