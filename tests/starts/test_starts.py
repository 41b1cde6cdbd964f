"""Starts in recipes, by name or with settings, and what they give."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.learning import toy_task
from tests.models import tiny
from tests.tinymodel import words_tokenizer
from trimformer import TrimformerError, trim
from trimformer.encoder.checkpoints.load import Checkpoint
from trimformer.recipe.reading import load_recipe, parse
from trimformer.starts import STARTS, Origin, Origins, Start

CONTENT = {"model": "m", "task": {"name": "sst2"}, "out": "o"}


def stages(start: Any) -> dict[str, Any]:
    return CONTENT | {"stages": [{"name": "s", "method": {"name": "finetune"}, "start": start}]}


def save(model: Any, folder: Path) -> Path:
    model.save_pretrained(folder)
    words_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture
def origins(tmp_path: Path) -> Origins:
    """A dense model, its trimmed form, and the checkpoint that both were made from; all differ."""
    given, dense = tiny(seed=1), tiny(seed=2, labels=2)
    left = trim(dense, attention={1: "mean"})
    return Origins(
        Checkpoint(given.config, given.state_dict(), type(given), "given"),
        words_tokenizer(),
        False,
        toy_task(),
        Origin(dense.config, folder=save(dense, tmp_path / "dense")),
        Origin(left.config, own_tokenizer=True, folder=save(left, tmp_path / "left")),
    )


def start(name: str, origins: Origins, **settings: Any) -> Start:
    return STARTS[name](STARTS[name].Settings(name=name, **settings), origins)


def test_the_name_alone_is_enough(tmp_path: Path) -> None:
    by_name, by_mapping = parse(stages("dense"), "x"), parse(stages({"name": "dense"}), "x")
    assert by_name == by_mapping
    by_name.save(tmp_path / "r.yaml")
    assert load_recipe(tmp_path / "r.yaml") == by_name
    default = {key: value for key, value in stages("")["stages"][0].items() if key != "start"}
    assert parse(CONTENT | {"stages": [default]}, "x").stages[0].start.name == "previous"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("dens", "Unknown start 'dens' in x: did you mean 'dense'?"),
        ({"name": "denser"}, "Unknown start 'denser' in x: did you mean 'dense'?"),
        ({}, "The key 'stages.0.start.name' is missing in x."),
        ({"name": "dense", "xyz": 1}, "Unknown key 'stages.0.start.xyz' in x: known here: name."),
        (5, "stages.0.start in x: input should be a valid dictionary"),
    ],
)
def test_mistakes_are_named(wrong: Any, said: str) -> None:
    with pytest.raises(TrimformerError) as caught:
        parse(stages(wrong), "x")
    assert said in str(caught.value)


def test_what_they_give(origins: Origins) -> None:
    for name, origin in ("dense", origins.dense), ("previous", origins.previous):
        found = start(name, origins)
        assert found.config == origin.config
        assert all(torch.equal(w, origin.model().state_dict()[key]) for key, w in found.model().state_dict().items())
    assert (start("dense", origins).own_tokenizer, start("dense", origins).tokenizer()) == (False, None)
    assert start("previous", origins).own_tokenizer
    found = start("previous", origins).tokenizer()
    assert found is not None
    assert found.get_vocab() == words_tokenizer().get_vocab()


@pytest.mark.parametrize("trained", [False, True])
def test_the_checkpoint_keeps_a_head_that_was_trained_for_these_labels(origins: Origins, trained: bool) -> None:
    given = Origins(**{**vars(origins), "has_trained_head": trained})
    model = start("pretrained", given).model()
    weights = origins.checkpoint.weights
    assert model.config.label_names == (["label0", "label1", "label2"] if trained else ["a", "b"])
    assert torch.equal(model.encoder.embeddings.word.weight, weights["encoder.embeddings.word.weight"])
