"""A recipe is checked before any training: each stage against what the one before leaves."""

from __future__ import annotations

import re
import types
from typing import Any

import pytest
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from tests.learning import toy_task
from tests.models import tiny
from tests.tinymodel import words_tokenizer
from trimformer import TrimformerError, trim
from trimformer.encoder.checkpoints.load import Checkpoint
from trimformer.methods import METHODS
from trimformer.methods.structure.deformer import split_config
from trimformer.pipeline.check import check_stages
from trimformer.recipe.reading import parse
from trimformer.starts import Origin, Origins

LAST_2 = {"name": "last-k", "keep_layers": 2}
DEPTH_3 = {"name": "depth", "keep": 3}
SEARCH = {"name": "nas-masks", "target": 0.6, "cut": False}


def check(*stages: dict[str, Any], model: Any = None, kind: Any = "classification", length: int = 30) -> list[Any]:
    config = (model or tiny(4)).config
    content = [{"name": f"s{i}"} | stage for i, stage in enumerate(stages)]
    recipe = parse({"model": "m", "task": {"name": "sst2"}, "out": "o", "stages": content}, "x")
    dense = Origin(config)
    origins = Origins(Checkpoint(config, {}, None, "m"), words_tokenizer(), False, toy_task(kind), dense, dense)
    return check_stages(recipe.stages, origins, length)


def refused(*stages: dict[str, Any], **others: Any) -> str:
    with pytest.raises(TrimformerError) as caught:
        check(*stages, **others)
    return str(caught.value)


DEFORMER = {"name": "deformer", "split_layers": 2}


def test_what_cannot_be_split_is_refused_before_any_training() -> None:
    assert "the rows of this task have one text: name the column of the second one" in refused({"method": DEFORMER})
    assert "deformer is for classification and" in refused({"method": DEFORMER}, kind="tokens")
    split_up = types.SimpleNamespace(config=split_config(tiny(4).config, 2))
    for name in (name for name, method in METHODS.items() if not method.takes_split):
        settings = {"name": name, **METHODS[name].example} | (
            {"keep_layers": 1} if name == "attendout-faithful" else {}
        )
        said = refused({"method": settings, "objective": {"logits": 1}}, model=split_up)
        assert f"the first 2 layers of its model see each text of a pair by itself, which {name} does not know" in said
    assert len(check({"method": {"name": "finetune"}}, model=split_up)) == 1


@pytest.mark.parametrize("name", ["vocabulary", "mixed-vocabulary"])
def test_a_tokenizer_of_another_kind_is_refused_before_any_training(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    other = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE({"a": 0}, [])), unk_token="a")
    monkeypatch.setattr("trimformer.methods.tokens.vocabulary.KINDS", {})
    monkeypatch.setattr(f"{__name__}.words_tokenizer", lambda: other)
    settings = {"name": name} | ({"size": 20} if name == "mixed-vocabulary" else {})
    assert "Stage s0: The " in (said := refused({"method": settings}))
    assert "BPE" in said


def test_each_stage_starts_from_what_the_one_before_leaves() -> None:
    students = check({"method": LAST_2}, {"method": DEPTH_3}, {"method": LAST_2, "start": "dense"}, {"method": LAST_2})
    kinds = [[shape.attention for shape in student.shapes] for student in students]
    full = ["full"] * 4
    assert kinds == [full, ["full", "full", "mean", "mean"], full, ["full", "full", "mean", "mean"]]
    assert len(check({"method": DEPTH_3}, {"method": {"name": "finetune"}})[1].shapes) == 3


@pytest.mark.parametrize(
    ("stages", "said"),
    [
        (
            [{"method": LAST_2}, {"method": {"name": "greedy", "keep_layers": 3}}],
            "Stage s1: keep_layers=3 is out of range: this encoder has 2 layers with attention, so keep 0 to 2.",
        ),
        (
            [{"method": LAST_2}, {"method": DEPTH_3}, {"method": {"name": "layerdrop", "keep": 4}}],
            "Stage s2: keep=4 is out of range: this encoder has 3 layers, so keep 1 to 3.",
        ),
        (
            [{"method": DEPTH_3}, {"method": {"name": "finetune"}, "objective": {"hidden": 1, "layer_map": [0, 1]}}],
            "Stage s1: layer_map has 2 entries, but the student has 3 layers",
        ),
        (
            [{"method": DEPTH_3, "objective": {"layer_map": [4]}}],
            "Stage s0: layer_map names the layer 4 of the teacher",
        ),
        (
            [
                {"method": {"name": "last-k", "keep_layers": 0}},
                {"method": {"name": "finetune"}, "objective": {"attention": 1}},
            ],
            "Stage s1: The term 'attention' of the objective has nothing to compare",
        ),
        (
            [{"method": SEARCH}, {"method": SEARCH | {"cut": True}, "start": "dense"}],
            "Stage s0: cut: false leaves the model whole, and no next stage of nas-masks starts from it",
        ),
        (
            [{"method": SEARCH}, {"method": SEARCH | {"cut": True, "spaces": ["ffn"]}}],
            "Stage s0: The stage before has other masks",
        ),
    ],
)
def test_what_cannot_work_is_refused_with_the_name_of_the_stage(stages: list[dict[str, Any]], said: str) -> None:
    assert said in refused(*stages)


def test_what_is_only_learned_is_not_held_against_later_stages() -> None:
    check({"method": {"name": "attendout"}}, {"method": {"name": "last-k", "keep_layers": 4}})


def test_rows_longer_than_the_model_takes() -> None:
    assert refused({"method": LAST_2}, length=41) == (
        "Stage s0: its model takes at most 40 tokens: set max_length of the task to that."
    )


def test_an_encoder_that_was_trimmed_before() -> None:
    model = trim(tiny(4), attention={1: "mean"})
    assert check({"method": {"name": "last-k", "keep_layers": 3}}, model=model)
    assert "this encoder has 3 layers with attention" in refused(
        {"method": {"name": "last-k", "keep_layers": 4}}, model=model
    )


FINETUNE = {"method": {"name": "finetune"}}


@pytest.mark.parametrize(
    ("kind", "objective", "left"),
    [
        ("classification", {"logits": 1}, None),
        ("regression", {"task": 1}, None),
        ("classification", {"logits": 1, "hidden": 1}, "task and logits"),
        ("multilabel", {"embeddings": 1}, "task and logits"),
        ("classification", {"relations": 1}, "task and logits"),
        ("tokens", {"logits": 1}, "task"),
        ("spans", {"task": 1}, None),
    ],
)
def test_tokens_of_different_tokenizers_are_not_compared(
    monkeypatch: pytest.MonkeyPatch, kind: str, objective: dict[str, float], left: str | None
) -> None:
    stages = [FINETUNE | {"objective": {"hidden": 1, "logits": 1}}, FINETUNE | {"objective": objective}]
    check(*stages)
    monkeypatch.setattr(METHODS["finetune"], "changes_tokenizer", True)
    if left is None:
        check(*stages, kind=kind)
    else:
        assert re.search(rf"Stage s1: .* of the objective's terms only {left} can be used", refused(*stages, kind=kind))
